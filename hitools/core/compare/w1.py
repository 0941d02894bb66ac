"""Wasserstein-1 distances of every event and particle variable of two samples (hi-w1).

The paper's global marginal scores (section IV E): the mean over the 11 event variables, counts
rounded first, and the mean over pT, eta and phi of the particles.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.compare import bootstrap
from hitools.core.compare.distances import Replicas, between, between_halves, share_grid
from hitools.core.compare.quantity import Quantity
from hitools.core.compare.sketch import Sketch
from hitools.core.features import (
    COUNT_COLUMNS,
    EVENT_COLUMNS,
    EVENT_UNITS,
    PARTICLE_COLUMNS,
    PARTICLE_UNITS,
    Float32Array,
    Float64Array,
)

PhiMethod = Literal["sincos", "circle"]

SIN_COS: Final = ("sin_phi", "cos_phi")
PARTICLE_MEAN: Final = ("pt", "eta", "phi")
"""Variables of the paper's mean over particle variables."""

DEFAULT_MEMORY: Final = 1 << 30
_GRID_VALUES: Final = 1 << 18
"""The grid of a variable follows its first values, this many."""


@dataclass(frozen=True)
class Distance:
    """W1 of one variable or a mean of several.

    Attributes:
        name: variable, or "evt" or "part" for the means.
        value: in the variable's unit.
        error: bootstrap over events, both samples.
        floor: mean distance between halves of the reference, for the sizes at hand.
        bound: the exact distance lies within value +- bound; 0 where it is exact.
        unit: of value; "1" for the means, which add different units as the paper does.
        scaled: value, error and floor in units of the reference's standard deviation.
    """

    name: str
    value: float
    error: float
    floor: float
    bound: float
    unit: str
    scaled: tuple[float, float, float]


@dataclass(frozen=True)
class W1Result:
    """All distances. Without a sample they are those between halves of the one input."""

    distances: tuple[Distance, ...]
    exact: bool
    n_events: tuple[int, int]
    n_particles: tuple[int, int]

    def quantities(self) -> list[Quantity]:
        """w1.NAME in the variable's unit, then w1_sd.NAME in standard deviations."""
        raw = [Quantity(f"w1.{d.name}", d.value, d.error, d.floor, d.unit) for d in self.distances]
        return raw + [Quantity(f"w1_sd.{d.name}", *d.scaled, unit="sd") for d in self.distances]


@dataclass(frozen=True)
class _Replicas:
    """One variable: its distance with replicas, and the reference's standard deviation."""

    distance: Replicas
    deviation: float


class W1Accumulator:
    """Feed the reference, then the sample, batch by batch; memory stays bounded."""

    def __init__(
        self, phi: PhiMethod = "sincos", memory: int = DEFAULT_MEMORY, seed: int = 0
    ) -> None:
        """Prepare.

        Args:
            phi: the azimuth of particles as the mean of the distances of sin phi and cos phi,
                or along the circle.
            memory: bytes of values that may be held for the exact distance; beyond it the
                distance is estimated in fixed memory, with a bound.
            seed: of the grouping of events, the bootstrap and the halves.
        """
        self._phi: PhiMethod = phi
        angle = ("phi",) if phi == "circle" else SIN_COS
        self._particle_names = (*PARTICLE_COLUMNS[:-1], *angle)
        self._names = (*EVENT_COLUMNS, *self._particle_names)
        self._sketches = tuple({name: Sketch() for name in self._names} for _ in range(2))
        self._ledgers = bootstrap.EventLedger(seed), bootstrap.EventLedger(seed)
        self._n_particles = [0, 0]
        self._memory, self._seed = memory, seed
        self._held = dict.fromkeys(self._names, 0)

    def add_reference(self, batch: EventBatch) -> None:
        """Take the next events of the reference."""
        self._add(0, batch)

    def add_sample(self, batch: EventBatch) -> None:
        """Take the next events of the sample."""
        self._add(1, batch)

    def _add(self, side: int, batch: EventBatch) -> None:
        groups = self._ledgers[side].enter(batch.weights_or_ones)
        self._n_particles[side] += len(batch.particles)
        event, weights = batch.event_of_particle, batch.weights
        particle_weights = None if weights is None else weights[event]
        particle_groups = groups[event]
        for name in self._names:
            if name in EVENT_COLUMNS:
                values = batch.event(name)
                values = np.rint(values) if name in COUNT_COLUMNS else values.copy()
                self._store(side, name, values, weights, groups)
            else:
                values = _particle_values(batch, name)
                self._store(side, name, values, particle_weights, particle_groups)
        # Particles go first: values of events rarely matter, and counts are best kept exact.
        for names in (self._particle_names, EVENT_COLUMNS):
            if sum(self._held.values()) > self._memory:
                self._give_up_values(names)

    def _store(
        self,
        side: int,
        name: str,
        values: Float32Array,
        weights: Float32Array | None,
        groups: np.ndarray,
    ) -> None:
        sketch = self._sketches[side][name]
        self._held[name] += sketch.add(values, weights, groups)
        if sketch.n_values >= _GRID_VALUES:
            share_grid(*(sketches[name] for sketches in self._sketches))

    def _give_up_values(self, names: tuple[str, ...]) -> None:
        for name in names:
            share_grid(*(sketches[name] for sketches in self._sketches))
            for sketches in self._sketches:
                if sketches[name].exact:
                    sketches[name].give_up_values()
            self._held[name] = 0

    def result(self) -> W1Result:
        """The distances of what was fed so far.

        Raises:
            ValueError: the reference has no particles, or a sample was fed that has none.
        """
        paired = self._ledgers[1].n_events > 0
        if not self._n_particles[0] or (paired and not self._n_particles[1]):
            raise ValueError("no particles to compare")
        replicas = {name: self._replicas(name, paired) for name in self._names}
        scale = 1.0
        if paired:
            scale = bootstrap.floor_scale(*(ledger.effective for ledger in self._ledgers))
        units = {**EVENT_UNITS, **PARTICLE_UNITS, "sin_phi": "1", "cos_phi": "1"}
        single: list[tuple[tuple[str, ...], str, str]] = [
            ((name,), name, units[name]) for name in self._names
        ]
        if self._phi == "sincos":
            single.append((SIN_COS, "phi", "1"))
        angle = ("phi",) if self._phi == "circle" else SIN_COS
        means = [(tuple(EVENT_COLUMNS), "evt", "1"), (("pt", "eta", *angle), "part", "1")]
        share = {"sin_phi": 0.5, "cos_phi": 0.5}
        return W1Result(
            distances=tuple(
                _mean(
                    [replicas[part] for part in parts],
                    np.array([share.get(part, 1.0) if len(parts) > 1 else 1.0 for part in parts]),
                    name,
                    unit,
                    scale if paired else float("nan"),
                )
                for parts, name, unit in single + means
            ),
            exact=paired and all(s.exact for sketches in self._sketches for s in sketches.values()),
            n_events=(self._ledgers[0].n_events, self._ledgers[1].n_events),
            n_particles=(self._n_particles[0], self._n_particles[1]),
        )

    def _replicas(self, name: str, paired: bool) -> _Replicas:
        reference, sample = (sketches[name] for sketches in self._sketches)
        share_grid(reference, sample)
        periodic = self._phi == "circle" and name == "phi"
        if paired:
            found = between(reference, sample, periodic=periodic, seed=self._seed)
        else:
            found = between_halves(reference, periodic=periodic, seed=self._seed)
        return _Replicas(found, reference.standard_deviation)


def _particle_values(batch: EventBatch, name: str) -> Float32Array:
    if name == "sin_phi":
        return np.sin(batch.particle("phi"))
    if name == "cos_phi":
        return np.cos(batch.particle("phi"))
    return batch.particle(name).copy()


def _mean(
    parts: list[_Replicas], shares: Float64Array, name: str, unit: str, scale: float
) -> Distance:
    """The mean distance of several variables; replicas are averaged first, so errors correlate."""
    shares = shares / shares.sum()
    # A variable that is constant in the reference has no scale of its own.
    deviations = np.array([part.deviation or np.nan for part in parts])
    found = [part.distance for part in parts]
    brackets = np.array([(one.value, one.bound) for one in found])
    boot = np.stack([one.bootstrap for one in found])
    halves = np.stack([one.halves for one in found]).mean(1)

    def combined(weights: Float64Array) -> tuple[float, float, float]:
        return (
            float(weights @ brackets[:, 0]),
            float(bootstrap.spread(weights @ boot)),
            float(weights @ halves) * scale,
        )

    value, error, floor = combined(shares)
    bound = float(shares @ brackets[:, 1])
    return Distance(name, value, error, floor, bound, unit, combined(shares / deviations))
