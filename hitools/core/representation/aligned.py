"""The representation of the rotary preset: three numbers a particle, seen in the event plane.

Events are turned so that psi_2 = 0; a particle is the normal scores of its ln pT and eta and a
point on a circle for its azimuth; an event vector is nine scores. What follows from these is
derived, so that a sampled event vector is consistent in itself.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.features import (
    EVENT_INDEX,
    PARTICLE_INDEX,
    Float32Array,
    FloatArray,
    IntArray,
    wrap_angle,
)
from hitools.core.representation import below
from hitools.core.representation.event_scores import EVENT_SCORES, turn_of
from hitools.core.representation.known_sums import N_BALANCE, KnownSums
from hitools.core.representation.quantiles import QuantileMap
from hitools.core.representation.right_spectra import RightSpectra
from hitools.core.representation.slices import Slices, SliceSums, shares
from hitools.core.representation.vector_maps import VectorMaps
from hitools.core.scaling import Mended

PARTICLE_SCORES: Final = ("pt", "eta", "x", "y")
"""Particle features of the model: normal scores, and the azimuth from psi_2 on a circle. Where hard
particles, or all of small events, are drawn before the others, a fifth column is 1 for them and 0
for the others."""

CIRCLE: Final = math.sqrt(2)
"""Radius: unit variance in x and in y."""

N_LEFT: Final = 3
"""Columns of Aligned.left_to_others."""

_USUAL_PT: Final = 0.75
"""Mean pT of particles in units of its root mean square."""

_UNIFORM_STD: Final = math.pi / math.sqrt(3)
_MOST_PARTICLES: Final = 20_000_000


@dataclass(frozen=True)
class Aligned:
    """Scores in the event plane.

    Attributes:
        vector: maps of the event vector.
        pt: map of ln pT.
        eta: map of eta, of particles that are not hard.
        eta_max: |eta| limit of the selection.
        pt_min: lowest pT in GeV/c: of the selection or, where that is lower, the lowest seen.
        pt_max: highest possible pT, by the beam energy's order: ten times the highest seen.
        eta_scale: typical size of eta.
        slices: maps of the sums in slices of eta, over particles that are not hard.
        right_spectra: maps of the scores of pT and eta as the trained network hands them out to
            those of real particles (calibration.py); None where these were not measured.
        hard_from: score of pT from which on particles are hard: they are drawn before the others,
            and the scores of the others are those among themselves. None where none are.
        whole_below: all particles of events of fewer are drawn so, and count as hard; 0 where only
            hard ones are.
    """

    name: ClassVar[str] = "aligned"

    vector: VectorMaps
    pt: QuantileMap
    eta: QuantileMap
    eta_max: float
    pt_min: float
    pt_max: float
    eta_scale: float
    slices: Slices
    right_spectra: RightSpectra | None = None
    hard_from: float | None = None
    whole_below: int = 0

    @classmethod
    def fit(
        cls,
        batches: Iterable[EventBatch],
        *,
        log_columns: Iterable[str] = (),
        slice_harmonics: tuple[int, ...] = (),
        hard_from: float | None = None,
        whole_below: int = 0,
        eta_max: float | None = None,
        pt_min: float = 0.0,
    ) -> "Aligned":
        """Measure the maps on training events. See Representation.

        Args:
            batches: the events.
            log_columns: none: the maps do not need them.
            slice_harmonics: see slices.SliceSums; () for its default.
            hard_from: see the class.
            whole_below: see the class.
            eta_max: |eta| limit of the selection, the largest seen where it is unknown.
            pt_min: lower pT limit of the selection in GeV/c.

        Raises:
            InputError: no particles at all, a value that is not finite, log_columns, harmonics
                that do not fit together, whole events where no particles are hard.
        """
        if whole_below and hard_from is None:
            raise InputError("scaling: whole events are drawn where hard particles are, none is")
        if tuple(log_columns):
            raise InputError("scaling: --log has no use with the representation 'aligned'")
        events: list[Float32Array] = []
        particles: list[Float32Array] = []
        offsets: list[IntArray] = []
        n_particles = 0
        for batch in batches:
            filled = batch.n_particles > 0
            events.append(batch.events[filled])
            if n_particles < _MOST_PARTICLES:
                psi = np.repeat(batch.event("psi_2"), batch.n_particles)
                aligned = wrap_angle(batch.particle("phi") - psi)
                columns = [batch.particle("pt"), batch.particle("eta"), aligned]
                particles.append(np.stack(columns, axis=1))
                offsets.append(np.append(batch.offsets[:-1][filled], batch.offsets[-1]))
                n_particles += len(batch.particles)
        if not n_particles:
            raise InputError("scaling: the training events hold no particles")
        vectors = np.concatenate(events).astype(np.float64)
        pt, eta, _ = np.concatenate(particles).astype(np.float64).T
        if not (np.isfinite(vectors).all() and np.isfinite(pt).all() and np.isfinite(eta).all()):
            raise InputError("scaling: a training event has a value that is not finite")
        pt_rms = math.sqrt(float(np.mean(pt**2)))
        pt_map = QuantileMap.fit(np.log(pt))
        scores = pt_map.encode(torch.from_numpy(np.log(pt)))
        counts = torch.cat([torch.from_numpy(np.diff(places)) for places in offsets])
        # Of what the network denoises: hard particles have another spectrum of eta.
        rest = _rest(scores, counts, hard_from, whole_below)
        eta_map = QuantileMap.fit(eta[rest.numpy()] if rest.any() else eta)
        sums = SliceSums(slice_harmonics) if slice_harmonics else SliceSums()
        coarse = []
        for rows, places in zip(particles, offsets, strict=True):
            pt_here, eta_here, phi_here = torch.from_numpy(rows).unbind(1)
            eta_scores = eta_map.encode(eta_here)
            where = torch.from_numpy(places)
            counts = where.diff()
            rest = _rest(pt_map.encode(pt_here.log()), counts, hard_from, whole_below)
            of_events = sums.of_particles(
                eta_scores[rest], pt_here[rest] / pt_rms, phi_here[rest], _offsets_of(rest, where)
            )
            large = counts >= whole_below
            coarse.append(of_events[large] if large.any() else of_events)
        return cls(
            vector=VectorMaps.fit(vectors),
            pt=pt_map,
            eta=eta_map,
            eta_max=max(float(np.abs(eta).max()), eta_max or 0.0),
            pt_min=max(pt_min, float(pt.min())),
            pt_max=10 * float(pt.max()),
            eta_scale=max(float(eta.std()), 1e-6),
            slices=Slices.fit(sums, torch.cat(coarse), pt_rms),
            hard_from=hard_from,
            whole_below=whole_below,
        )

    def with_ranges_of(self, other: "Aligned") -> "Aligned":
        """See Representation."""
        return replace(
            self,
            vector=replace(self.vector, limits=other.vector.limits),
            eta_max=other.eta_max,
            pt_min=other.pt_min,
            pt_max=other.pt_max,
            right_spectra=None,
            whole_below=other.whole_below,
        )

    @property
    def n_event_features(self) -> int:
        """9."""
        return len(EVENT_SCORES)

    @property
    def n_coarse_features(self) -> int:
        """See slices.SliceSums."""
        return self.slices.sums.n_features

    @property
    def n_particle_features(self) -> int:
        """4."""
        return len(PARTICLE_SCORES)

    @property
    def n_hard_sums(self) -> int:
        """All known ones, where there are hard particles."""
        return 0 if self.hard_from is None else len(self.known)

    # To model space ----------------------------------------------------------------------------

    def encode(self, events: Tensor, particles: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """See Representation."""
        counts = offsets.diff().to(particles.device)
        psi = torch.repeat_interleave(
            events[:, EVENT_INDEX["psi_2"]], counts, output_size=len(particles)
        )
        phi = particles[:, PARTICLE_INDEX["phi"]] - psi
        pt = particles[:, PARTICLE_INDEX["pt"]]
        eta = self.eta.encode(particles[:, PARTICLE_INDEX["eta"]])
        score = self.pt.encode(pt.log())
        columns = [eta, CIRCLE * phi.cos(), CIRCLE * phi.sin()]
        rest = _rest(score, counts, self.hard_from, self.whole_below)
        if self.hard_from is not None:
            score = torch.where(rest, below.among_lower(score, self.hard_from), score)
            columns.append((~rest).to(score.dtype))
        from_afar = self.slices.encode(eta[rest], pt[rest], phi[rest], _offsets_of(rest, offsets))
        z = torch.cat([self.encode_events(events), from_afar], dim=1)
        return z, torch.stack([score, *columns], dim=1)

    def encode_events(self, events: Tensor) -> Tensor:
        """See Representation."""
        return self.vector.encode(events)

    # Back --------------------------------------------------------------------------------------

    def decode_events(self, z: Tensor) -> tuple[Float32Array, int]:
        """See Representation, and VectorMaps.decode."""
        return self.vector.decode(z, self.eta_max)

    def set_right(self, x: Tensor, n_particles: Tensor) -> Tensor:
        """Particles as the trained network hands them out, by calibration.

        Hard particles are drawn by their likelihood: nothing is to be set right.

        Args:
            x: (n_total, 4 or 5) particles in model space.
            n_particles: (n_total,) of the event of each.
        """
        if self.right_spectra is None:
            return x
        scores = self.right_spectra.apply(x[:, :2], n_particles)
        scores = torch.where(is_hard(x)[:, None], x[:, :2], scores)
        return torch.cat([scores, x[:, 2:]], dim=1)

    def decode_particles(
        self, x: Tensor, events: Float32Array, counts: np.ndarray
    ) -> tuple[FloatArray, FloatArray, FloatArray, Mended]:
        """See Representation."""
        x = x.float()
        log_pt = self.pt.decode(self._among_all(x[:, 0], is_hard(x))).double().cpu().numpy()
        eta = self.eta.decode(x[:, 1]).double().cpu().numpy()
        psi = np.repeat(events[:, EVENT_INDEX["psi_2"]].astype(np.float64), counts)
        phi = wrap_angle(torch.atan2(x[:, 3], x[:, 2]).double().cpu().numpy() + psi)
        # No particle has more than all of its event: a score far outside, as a lone particle now
        # and then gets, would be a momentum without bound.
        low = math.log(self.pt_min)
        sum_pt = np.repeat(events[:, EVENT_INDEX["sum_pt"]].astype(np.float64), counts)
        high = np.maximum(np.log(np.minimum(sum_pt, self.pt_max)), low)
        outside_pt = (log_pt < low) | (log_pt > high)
        outside_eta = np.abs(eta) > self.eta_max
        mended = Mended(pt=int(outside_pt.sum()), eta=int(outside_eta.sum()))
        pt = np.exp(np.clip(log_pt, low, high))
        return pt, np.clip(eta, -self.eta_max, self.eta_max), phi, mended

    def momenta(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See Representation; phi is measured from psi_2."""
        score = self._among_all(x[:, 0], is_hard(x))
        return self.pt.decode(score).exp(), torch.atan2(x[:, 3], x[:, 2])

    def _among_all(self, score: Tensor, hard: Tensor) -> Tensor:
        """(n,) scores of pT among all particles."""
        if self.hard_from is None:
            return score
        return torch.where(hard, score, below.among_all(score, self.hard_from))

    def event_plane(self, z: Tensor) -> Tensor:
        """See Representation: 0, as particles are turned into it."""
        return torch.zeros_like(z[:, 0])

    def independent_velocity(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """Velocity if particles knew nothing of each other: what is left to learn is all else.

        For a normal score it is 0. For a point on a circle of radius R, the mean of z_0 given z_t
        is R I_1(k)/I_0(k) along z_t, with k = alpha R |z_t| / sigma^2 (von Mises).

        Args:
            x: (n_total, 4) noised particles.
            alpha: (n_total, 1) amplitude of the signal.
            sigma: (n_total, 1) amplitude of the noise.
        """
        circle = x[:, 2:4]
        radius = circle.norm(dim=1, keepdim=True).clamp(min=1e-12)
        concentration = alpha * CIRCLE * radius / sigma.square()
        shrunk = torch.special.i1e(concentration) / torch.special.i0e(concentration)
        velocity = (alpha - CIRCLE * shrunk / radius) / sigma * circle
        return torch.cat([torch.zeros_like(circle), velocity], dim=1)

    def emphasis(self, x: Tensor, alpha: Tensor, hardness: float) -> Tensor:
        """(n_total,) weights of particles in a loss, 1 on average: hard ones count for more.

        They depend on what the network sees alone, so that the best velocity stays what it is.

        Args:
            x: (n_total, 4) noised particles.
            alpha: (n_total, 1) amplitude of the signal.
            hardness: power of e for each unit of the score of pT that is to be expected.
        """
        spread = hardness * alpha[:, 0]
        return torch.exp(spread * x[:, 0].clamp(max=3) - spread.square() / 2)

    def evening(self, n_particles: Tensor, evenness: float) -> Tensor:
        """(n_events,) weights of the particles of events in a loss, 1 in the median event.

        Args:
            n_particles: (n_events,).
            evenness: 0 where particles weigh alike, 1 where events do, however small.
        """
        usual = self.vector.events["n_particles"].decode(torch.zeros(1)).item()
        return (usual / n_particles.clamp(min=1)).pow(evenness)

    # Sums --------------------------------------------------------------------------------------

    @cached_property
    def known(self) -> KnownSums:
        """Sums over particles that are known of an event."""
        return KnownSums(self.slices.sums)

    def pt_factors(self, score: Tensor) -> Tensor:
        """(n, known.n_pt, ...): weights of particles with these (n, ...) scores among all."""
        pt = self.pt.decode(score.clamp(-5, 5)).exp()
        return self.slices.sums.weights(pt / self.slices.pt_unit)

    def soft_pt_factors(self, score: Tensor) -> Tensor:
        """The same of particles that are not hard, with scores among themselves."""
        score = score.clamp(-5, 5)
        if self.hard_from is not None:
            score = below.among_all(score, self.hard_from)
        return self.pt_factors(score)

    def eta_factors(self, score: Tensor) -> Tensor:
        """(n, N_ETA, ...) of (n, ...) scores: the share in each slice, eta, and 1."""
        eta = self.eta.decode(score.clamp(-5, 5)) / self.eta_scale
        return torch.cat([shares(score), eta[:, None], torch.ones_like(eta)[:, None]], dim=1)

    def phi_factors(self, phi: Tensor, psi: Tensor) -> Tensor:
        """(n, known.n_phi, ...): waves of (n, ...) phi from psi_2; the laboratory's azimuth."""
        laboratory = torch.remainder(phi + psi + math.pi, 2 * math.pi) - math.pi
        return torch.cat([self.slices.sums.waves(phi), laboratory[:, None] / _UNIFORM_STD], dim=1)

    def contributions(self, x: Tensor, psi: Tensor) -> Tensor:
        """(n_total, n_sums): what particles add to each of the sums.

        Args:
            x: (n_total, 4 or 5) particles in model space.
            psi: (n_total,) psi_2 of their events: mean_phi is an average in the laboratory.
        """
        phi = torch.atan2(x[:, 3], x[:, 2])
        pt = self.pt_factors(self._among_all(x[:, 0], is_hard(x)))
        factors = self.eta_factors(x[:, 1]), pt, self.phi_factors(phi, psi)
        return self.known.contributions(*factors)

    def is_whole(self, n_particles: Tensor) -> Tensor:
        """(n_events,) which events of so many particles are drawn like hard ones, all of them."""
        return n_particles < self.whole_below

    def hard_sums(self, x: Tensor, z: Tensor, event: Tensor) -> Tensor:
        """(n_events, n_sums) what the hard ones of particles add to the sums of their events.

        Args:
            x: (n, 4 or 5) particles in model space.
            z: (n_events, features) scores of event vectors.
            event: (n,) whose each particle is.
        """
        rows = is_hard(x).nonzero()[:, 0]
        event = event[rows]
        added = self.contributions(x[rows], turn_of(z)[event])
        return added.new_zeros(len(z), added.shape[1]).index_add(0, event, added)

    def whole_totals(self, z: Tensor, n_particles: Tensor) -> Tensor:
        """What the scores of event vectors say of KnownSums.of_whole, (n_events, N_WHOLE)."""
        n = n_particles.to(z.dtype)
        means = self.vector.within_n(z, n)
        sum_pt = n * means["mean_pt"].exp() / self.slices.pt_unit
        q = means["q_along"] * sum_pt / n.sqrt().clamp(min=1)
        eta = n.sqrt() * means["mean_eta"] / self.eta_scale
        phi = n.sqrt() * means["mean_phi"] / _UNIFORM_STD
        columns = [n, sum_pt, q, torch.zeros_like(q), eta, phi]
        return torch.stack(columns, dim=1) / z.new_tensor(self.known.whole_scales)

    def turning_totals(self, z: Tensor, n_particles: Tensor) -> Tensor:
        """The same of KnownSums.of_turning, (n_events, N_TURNING): momenta add up to 0."""
        return functional.pad(self.whole_totals(z, n_particles)[:, :-1], (0, N_BALANCE))

    def plain_sums(self, totals: Tensor) -> Tensor:
        """What (n, N_TURNING) turning_totals stand for: n, sum pT, Q in pt_unit, eta, momenta."""
        units = list(self.known.turning_scales)
        units[4] *= self.eta_scale
        return totals * totals.new_tensor(units)

    def totals(self, z: Tensor, n_particles: Tensor, of_hard: Tensor) -> Tensor:
        """What an event's scores and hard particles say of each of the sums, (n_events, n_sums).

        Args:
            z: (n_events, features) scores of event vectors and of slices.
            n_particles: (n_events,) in all.
            of_hard: (n_events, n_sums) what the hard ones of them add to the sums.
        """
        n, sum_pt, q = self._left(z, n_particles, of_hard)
        slices = self.slices.decode(z[:, len(EVENT_SCORES) :], n, sum_pt, q)
        slices = slices / slices.new_tensor(self.slices.sums.scales)
        at = self.slices.sums.n_features
        of_whole = self.whole_totals(z, n_particles)[:, 4:]
        return torch.cat([slices.flatten(1) + of_hard[:, :at], of_whole], dim=1)

    def left_to_others(self, z: Tensor, n_particles: Tensor, of_hard: Tensor) -> Tensor:
        """(n_events, N_LEFT) what hard particles leave: sum pT beyond the usual, and Q, by sqrt(n).

        Of so many particles, and in units of pt_unit. See totals for the arguments.
        """
        n, sum_pt, q = self._left(z, n_particles, of_hard)
        beyond = torch.cat([(sum_pt - _USUAL_PT * n)[:, None], q], dim=1)
        return beyond / (n + 1).sqrt()[:, None]

    def _left(
        self, z: Tensor, n_particles: Tensor, of_hard: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of the particles that are not hard: how many, their sum pT and Q, in units of pt_unit."""
        whole = self.whole_totals(z, n_particles) - self.known.of_whole(of_hard)
        n, sum_pt, *q = (whole * z.new_tensor(self.known.whole_scales)).unbind(1)[:4]
        n = n.clamp(min=0)
        # At least the lowest pT of each.
        least = n * (self.pt_min / self.slices.pt_unit)
        return n, torch.maximum(sum_pt, least), torch.stack(q, dim=1)

    def to_dict(self) -> dict[str, Any]:
        """See Representation."""
        return {
            "name": self.name,
            **self.vector.to_dict(),
            "pt": self.pt.to_dict(),
            "eta": self.eta.to_dict(),
            "eta_max": self.eta_max,
            "pt_min": self.pt_min,
            "pt_max": self.pt_max,
            "eta_scale": self.eta_scale,
            "slices": self.slices.to_dict(),
            "right_spectra": self.right_spectra and self.right_spectra.to_dict(),
            "hard_from": self.hard_from,
            "whole_below": self.whole_below,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Aligned":
        """See Representation."""
        right = values["right_spectra"]
        return cls(
            VectorMaps.from_dict(values),
            QuantileMap.from_dict(values["pt"]),
            QuantileMap.from_dict(values["eta"]),
            float(values["eta_max"]),
            float(values["pt_min"]),
            float(values["pt_max"]),
            float(values["eta_scale"]),
            Slices.from_dict(values["slices"]),
            right and RightSpectra.from_dict(right),
            values.get("hard_from"),
            int(values.get("whole_below", 0)),
        )


def is_hard(x: Tensor) -> Tensor:
    """(n,) which of (n, 4 or 5) particles in model space are drawn before the others."""
    if x.shape[1] == len(PARTICLE_SCORES):
        return torch.zeros_like(x[:, 0], dtype=torch.bool)
    return x[:, len(PARTICLE_SCORES)] > 0


def _rest(score: Tensor, counts: Tensor, hard_from: float | None, whole_below: int) -> Tensor:
    """(n,) which particles of (n,) scores of pT are drawn last, of events of (n_events,) each."""
    soft = score < (math.inf if hard_from is None else hard_from)
    large = torch.repeat_interleave(counts >= whole_below, counts, output_size=len(score))
    return soft & large


def _offsets_of(some: Tensor, offsets: Tensor) -> Tensor:
    """(n_events + 1,) offsets of (n_total,) some of the particles alone."""
    before = torch.cat([some.new_zeros(1, dtype=torch.int64), some.cumsum(0)])
    return before[offsets.to(some.device)]
