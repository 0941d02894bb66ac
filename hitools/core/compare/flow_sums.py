"""Sums over events from which flow and trigger correlations of one sample follow (hi-flow).

Collected batch by batch, one row per group of events; the numbers are made in flow_values.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.compare import bootstrap
from hitools.core.compare.bootstrap import N_GROUPS
from hitools.core.features import Float64Array, IntArray
from hitools.core.observables.cumulants import correlations, gap_correlations
from hitools.core.observables.pairs import PairCuts, trigger_pairs, triggers
from hitools.core.observables.qvector import Phases, SubEvents
from hitools.core.observables.scalar_product import Estimator, scalar_product_sums

Sums = dict[str, Float64Array]
"""Named sums, (64, ...) per group or (n, ...) for n totals; see FlowSums for the names."""

DEFAULT_PT_EDGES: Final = (0, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 2.5, 3, 4, 6, 10)
_TRIGGER_BINS: Final = (1, 1.125, 1.25, 1.5, 1.75, 2, 2.5, 3.25, 5)
"""Edges of the trigger's pT in units of the lowest one."""


@dataclass(frozen=True)
class FlowOptions:
    """What hi-flow measures; the defaults are the paper's where it says.

    Attributes:
        harmonics: n of v_n.
        pt_edges: bins of v_n(pT), GeV/c.
        gap: full width of the eta gap between the sub-events of v_n{SP}.
        estimator: "plane" as the paper, or "product".
        cumulant_gap: full width of a gap for the cumulants; None correlates all particles.
        particle_weight: of reference particles in the cumulants: 1 or pT.
        reference_pt: pT range of the reference particles of the cumulants, upper end excluded.
        pairs: triggers and their partners.
        n_delta_phi: bins of delta phi in (-pi, pi].
    """

    harmonics: tuple[int, ...] = (2, 3, 4)
    pt_edges: tuple[float, ...] = DEFAULT_PT_EDGES
    gap: float = 1.0
    estimator: Estimator = "plane"
    cumulant_gap: float | None = None
    particle_weight: Literal["one", "pt"] = "one"
    reference_pt: tuple[float, float] = (0.0, np.inf)
    pairs: PairCuts = field(default_factory=PairCuts)
    n_delta_phi: int = 48

    @property
    def delta_phi_edges(self) -> Float64Array:
        """(n_delta_phi + 1,)"""
        return np.linspace(-np.pi, np.pi, self.n_delta_phi + 1)

    @property
    def trigger_edges(self) -> Float64Array:
        """(9,) bins of the trigger's pT in the map, GeV/c."""
        return self.pairs.trigger_pt * np.array(_TRIGGER_BINS)


class FlowSums:
    """What one sample contributes.

    Attributes:
        ledger: its events.
        sums: per group; for each harmonic n "n.numerator", "n.count" (64, n_pt), "n.resolution",
            "n.root", "n.defined" (64,) of the scalar product, "n.two", "n.four" (64, 2) and
            "n.two_prime", "n.four_prime" (64, 2, n_pt) of the cumulants; "events", "triggers",
            "pairs" (64,), "cosines" (64, 3), "delta_phi" (64, n_delta_phi) and "map"
            (64, n_delta_phi, 8) of the trigger correlation.
    """

    def __init__(self, options: FlowOptions, seed: int) -> None:
        """Nothing collected yet; seed deals events into groups."""
        self._options = options
        self.ledger = bootstrap.EventLedger(seed)
        self.sums: Sums = {}

    def add(self, batch: EventBatch) -> None:
        """Take the next events."""
        weights = batch.weights_or_ones.astype(np.float64)
        groups = self.ledger.enter(weights)
        for name, values in self._per_event(batch).items():
            axes = (slice(None),) + (None,) * (values.ndim - 1)
            self._count(name, bootstrap.group_sums(values * weights[axes], groups))
        self._add_pairs(batch, weights, groups)

    def _count(self, name: str, more: Float64Array) -> None:
        self.sums[name] = self.sums[name] + more if name in self.sums else more

    def _per_event(self, batch: EventBatch) -> Sums:
        """Arrays of shape (n_events, ...); the event's weight is still to be applied."""
        options = self._options
        phases = Phases(batch.particle("phi"))
        edges, eta = np.array(options.pt_edges), batch.particle("eta")
        n_pt = len(edges) - 1
        pt_bin = _pt_bin(batch, edges)
        halves = SubEvents.split(eta, options.gap)
        weight = _reference_weight(batch, options)
        n_triggers = np.bincount(
            batch.event_of_particle[triggers(batch, options.pairs)], minlength=len(batch)
        )
        out: Sums = {"events": np.ones(len(batch)), "triggers": n_triggers.astype(np.float64)}
        for n in options.harmonics:
            product = scalar_product_sums(batch, phases, n, pt_bin, n_pt, halves, options.estimator)
            out[f"{n}.numerator"] = product.numerator
            out[f"{n}.count"] = product.count
            out[f"{n}.resolution"] = product.resolution
            out[f"{n}.root"] = product.reference
            out[f"{n}.defined"] = product.defined
            if options.cumulant_gap is None:
                found = correlations(batch, phases, n, weight, pt_bin, n_pt)
            else:
                apart = SubEvents.split(eta, options.cumulant_gap)
                found = gap_correlations(batch, phases, n, weight, pt_bin, n_pt, apart)
            out[f"{n}.two"] = np.moveaxis(found.two, 0, 1)
            out[f"{n}.four"] = np.moveaxis(found.four, 0, 1)
            out[f"{n}.two_prime"] = np.moveaxis(found.two_prime, 0, 1)
            out[f"{n}.four_prime"] = np.moveaxis(found.four_prime, 0, 1)
        return out

    def _add_pairs(self, batch: EventBatch, weights: Float64Array, groups: IntArray) -> None:
        options = self._options
        n_phi, edges = options.n_delta_phi, options.trigger_edges
        particle = triggers(batch, options.pairs)
        event = batch.event_of_particle[particle]
        # Everything that pairs of one trigger share is looked up once a trigger.
        group, weight = groups[event], weights[event]
        n_cells = len(edges) + 1
        row = group * n_cells + np.searchsorted(edges, batch.particle("pt")[particle], "right")
        sums = np.zeros((N_GROUPS, n_cells, n_phi))
        cosines = np.zeros((N_GROUPS, 3))
        for pairs in trigger_pairs(batch, options.pairs):
            w, g, c = weight[pairs.trigger], group[pairs.trigger], np.cos(pairs.delta_phi)
            powers = (c, 2 * c * c - 1, (4 * c * c - 3) * c)  # cos of 1, 2, 3 times the angle
            cosines += np.stack([np.bincount(g, w * x, N_GROUPS) for x in powers], axis=1)
            cell = ((pairs.delta_phi + np.pi) * (n_phi / (2 * np.pi))).astype(np.int64)
            cell = row[pairs.trigger] * n_phi + np.minimum(cell, n_phi - 1)
            sums += np.bincount(cell, w, sums.size).reshape(sums.shape)
        self._count("pairs", sums.sum((1, 2)))
        self._count("cosines", cosines)
        self._count("delta_phi", sums.sum(1))
        self._count("map", np.moveaxis(sums[:, 1:-1], 1, 2))


def _pt_bin(batch: EventBatch, edges: Float64Array) -> IntArray:
    """(n_particles_total,) bin in pT, the upper edge excluded; -1 outside."""
    index = np.searchsorted(edges, batch.particle("pt").astype(np.float64), side="right") - 1
    return np.where(index < len(edges) - 1, index, -1)


def _reference_weight(batch: EventBatch, options: FlowOptions) -> Float64Array:
    """(n_particles_total,) weights of the reference particles of the cumulants, 0 for others."""
    pt = batch.particle("pt").astype(np.float64)
    low, high = options.reference_pt
    inside = (pt >= low) & (pt < high)
    return np.where(inside, pt if options.particle_weight == "pt" else 1.0, 0.0)
