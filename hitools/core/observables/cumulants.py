"""Two- and four-particle azimuthal correlations per event, in one pass over the particles.

Direct cumulants with particle weights and without self-correlations (Bilandzic, Snellings,
Voloshin, PRC 83 (2011) 044913, section V and appendix C; the generic framework of PRC 89 (2014)
064904 gives the same for k = 2 and 4). With a gap, sub-events: two particles in each half.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.features import Float64Array, FloatArray, IntArray, segment_sums
from hitools.core.observables.qvector import (
    ComplexArray,
    Phases,
    SubEvents,
    cell_sums,
    event_sums,
)


@dataclass(frozen=True)
class Correlations:
    """Per event, sums over all multiplets of different particles and the sums of their weights.

    An average over events is sum(w * numerator) / sum(w * denominator), so that an event counts
    by the number of its multiplets. The primed ones have their first particle in a pT bin, with
    weight 1 there, whether or not it also is a reference particle.

    Attributes:
        two: (2, n_events) numerator and denominator of <2> = <cos n(phi_1 - phi_2)>.
        four: (2, n_events) of <4> = <cos n(phi_1 + phi_2 - phi_3 - phi_4)>.
        two_prime: (2, n_events, n_pt) of <2'>.
        four_prime: (2, n_events, n_pt) of <4'>.
    """

    two: Float64Array
    four: Float64Array
    two_prime: Float64Array
    four_prime: Float64Array


class _Sums:
    """Sums over the reference particles of a set of events, and over those in pT bins.

    In the papers' names: q(m, k) is Q_{m,k} = sum w^k e^{i m phi} per event, s(k) the same for
    m = 0; p(m) is the sum of e^{i m phi} over all particles of a pT bin, q_bin(m, k) the sum of
    w^k e^{i m phi} over those that are reference particles too.
    """

    def __init__(
        self,
        batch: EventBatch,
        phases: Phases,
        weight: Float64Array,
        pt_bin: IntArray,
        n_pt: int,
        chosen: FloatArray,
    ) -> None:
        self._offsets, self._phases = batch.offsets, phases
        # Powers of a weight of 1 are all the same: sums over pT bins are made once.
        self._unit = bool(np.all(weight == 1))
        self._powers: list[FloatArray] = [chosen, chosen * weight]
        self._inside = np.flatnonzero((pt_bin >= 0) & (chosen > 0))
        self._cell = batch.event_of_particle[self._inside] * n_pt + pt_bin[self._inside]
        self._shape = (len(batch), n_pt)
        self._binned: dict[tuple[int, int], ComplexArray] = {}

    def _weight(self, k: int) -> FloatArray:
        while len(self._powers) <= k:
            self._powers.append(self._powers[-1] * self._powers[1])
        return self._powers[k]

    def q(self, m: int, k: int) -> ComplexArray:
        return event_sums(self._phases[m] * self._weight(k), self._offsets)

    def s(self, k: int) -> Float64Array:
        return segment_sums(self._weight(k), self._offsets)

    def q_bin(self, m: int, k: int) -> ComplexArray:
        k = 0 if self._unit else k
        if (m, k) not in self._binned:
            terms = self._phases[m][self._inside]
            if k:
                terms = terms * self._weight(k)[self._inside]
            sums = cell_sums(terms, self._cell, self._shape[0] * self._shape[1])
            self._binned[m, k] = sums.reshape(self._shape)
        return self._binned[m, k]

    def p(self, m: int) -> ComplexArray:
        return self.q_bin(m, 0)

    @cached_property
    def m_p(self) -> Float64Array:
        return self._count(None)

    def s_bin(self, k: int) -> Float64Array:
        return self.m_p if self._unit else self._count(self._weight(k)[self._inside])

    def _count(self, weight: FloatArray | None) -> Float64Array:
        sums = np.bincount(self._cell, weight, self._shape[0] * self._shape[1])
        return sums.reshape(self._shape).astype(np.float64)


def correlations(
    batch: EventBatch,
    phases: Phases,
    n: int,
    weight: Float64Array,
    pt_bin: IntArray,
    n_pt: int,
) -> Correlations:
    """All multiplets of an event, self-correlations removed.

    Args:
        batch: the events.
        phases: of their particles.
        n: harmonic.
        weight: (n_particles_total,) weight of each reference particle, 0 for one that is none.
        pt_bin: (n_particles_total,) bin of each particle, -1 for none.
        n_pt: number of bins.
    """
    sums = _Sums(batch, phases, weight, pt_bin, n_pt, np.ones(len(weight)))
    q1, q2, q3 = sums.q(n, 1), sums.q(2 * n, 2), sums.q(n, 3)
    s1, s2, s3, s4 = (sums.s(k) for k in (1, 2, 3, 4))
    square = np.abs(q1) ** 2
    four = (
        square**2
        + np.abs(q2) ** 2
        - 2 * (q2 * q1.conj() ** 2).real
        + 8 * (q3 * q1.conj()).real
        - 4 * s2 * square
        - 6 * s4
        + 2 * s2**2
    )
    four_weight = s1**4 - 6 * s2 * s1**2 + 8 * s3 * s1 + 3 * s2**2 - 6 * s4

    p, m_p = sums.p(n), sums.m_p
    b21, b12 = sums.q_bin(2 * n, 1), sums.q_bin(n, 2)
    t1, t2, t3 = (sums.s_bin(k) for k in (1, 2, 3))
    q1, q2, q3 = (x[:, None] for x in (q1, q2, q3))
    e1, e2, e3 = (x[:, None] for x in (s1, s2, s3))
    four_prime = (
        p * q1 * q1.conj() ** 2
        - b21 * q1.conj() ** 2
        - p * q1 * q2.conj()
        - 2 * e2 * p * q1.conj()
        - 2 * t1 * np.abs(q1) ** 2
        + 7 * b12 * q1.conj()
        - q1 * b12.conj()
        + b21 * q2.conj()
        + 2 * p * q3.conj()
        + 2 * t1 * e2
        - 6 * t3
    ).real
    four_prime_weight = m_p * (e1**3 - 3 * e1 * e2 + 2 * e3) - 3 * (
        t1 * (e1**2 - e2) + 2 * (t3 - t2 * e1)
    )
    return Correlations(
        two=_pair(square - s2, s1**2 - s2, batch.n_particles >= 2),
        four=_pair(four, four_weight, batch.n_particles >= 4),
        two_prime=_pair(
            (p * q1.conj()).real - t1, m_p * e1 - t1, (batch.n_particles >= 2)[:, None]
        ),
        four_prime=_pair(four_prime, four_prime_weight, (batch.n_particles >= 4)[:, None]),
    )


def gap_correlations(
    batch: EventBatch,
    phases: Phases,
    n: int,
    weight: Float64Array,
    pt_bin: IntArray,
    n_pt: int,
    halves: SubEvents,
) -> Correlations:
    """Pairs with one particle in each half, quadruplets with two: <2> and <4> across the gap.

    The particle of the pT bin may be in either half, its partners with opposite sign are in the
    other one. Arguments as of correlations.

    Args:
        batch: the events.
        phases: of their particles.
        n: harmonic.
        weight: (n_particles_total,) weight of each reference particle, 0 for one that is none.
        pt_bin: (n_particles_total,) bin of each particle, -1 for none.
        n_pt: number of bins.
        halves: from SubEvents.split.
    """
    sides = [_Sums(batch, phases, weight, pt_bin, n_pt, mask) for mask in halves.masks]
    q = [side.q(n, 1) for side in sides]
    size = [side.s(1) for side in sides]
    pairs = [side.q(n, 1) ** 2 - side.q(2 * n, 2) for side in sides]
    n_pairs = [side.s(1) ** 2 - side.s(2) for side in sides]
    two_prime = np.zeros((2, len(batch), n_pt))
    four_prime = np.zeros((2, len(batch), n_pt))
    for own, other in ((0, 1), (1, 0)):
        side = sides[own]
        p, m_p = side.p(n), side.m_p
        two_prime[0] += (p * q[other].conj()[:, None]).real
        two_prime[1] += m_p * size[other][:, None]
        same = p * q[own][:, None] - side.q_bin(2 * n, 1)
        four_prime[0] += (same * pairs[other].conj()[:, None]).real
        four_prime[1] += (m_p * size[own][:, None] - side.s_bin(1)) * n_pairs[other][:, None]
    return Correlations(
        two=np.stack([(q[0] * q[1].conj()).real, size[0] * size[1]]),
        four=np.stack([(pairs[0] * pairs[1].conj()).real, n_pairs[0] * n_pairs[1]]),
        two_prime=two_prime,
        four_prime=four_prime,
    )


def _pair(numerator: Float64Array, denominator: Float64Array, enough: np.ndarray) -> Float64Array:
    """Both in one array; 0 where an event has too few particles and only rounding is left."""
    return np.stack([np.where(enough, numerator, 0.0), np.where(enough, denominator, 0.0)])
