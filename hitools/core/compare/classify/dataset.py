"""What a classifier sees of two samples: labels, weights, event vectors and packed particles.

The label is 1 for the reference and 0 for the sample under test. Weights are scaled so that both
classes weigh the same: the classifier then learns C = p_ref / (p_ref + p_sample), and C/(1-C) is
the likelihood ratio whatever the sizes of the two samples.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.features import (
    EVENT_COLUMNS,
    BoolArray,
    Float32Array,
    Float64Array,
    IntArray,
)
from hitools.core.hashing import hash_index

if TYPE_CHECKING:
    import torch

HARMONICS: Final = (1, 2, 3)
PARTICLE_INPUTS: Final = (
    "ln pt",
    "eta",
    *(f"{function} {n} phi" for n in HARMONICS for function in ("cos", "sin")),
)
"""What a classifier sees of a particle. The second and third harmonic of phi make flow, a small
coherent effect, easy to find: from phi alone Deep Sets learn it only with very many events. The
relative columns of the event format are left out: they contain the stored event vector."""

TRAINING_SHARE: Final = 0.70
VALIDATION_SHARE: Final = 0.15
"""Of each class; the rest is the test part (paper, section IV E)."""


@dataclass(frozen=True, eq=False)
class LabelledEvents:
    """Events of both classes in the form that the networks take.

    Attributes:
        events: (n_events, 11) float32 event vectors as stored.
        particles: (n_particles_total, 8) float32, see PARTICLE_INPUTS.
        offsets: (n_events + 1,) event k holds particles[offsets[k]:offsets[k+1]].
        multiplicity: (n_events,) particles of the event before any thinning.
        is_reference: (n_events,) bool.
        weights: (n_events,) float64; each class sums to half the number of events.
    """

    events: Float32Array
    particles: Float32Array
    offsets: IntArray
    multiplicity: IntArray
    is_reference: BoolArray
    weights: Float64Array

    @classmethod
    def from_batches(cls, reference: EventBatch, sample: EventBatch) -> "LabelledEvents":
        """Reference first, then the sample."""
        both = EventBatch.concatenate([reference, sample])
        is_reference = np.arange(len(both)) < len(reference)
        weights = both.weights_or_ones.astype(np.float64)
        return cls(
            events=both.events,
            particles=_particle_inputs(both),
            offsets=both.offsets,
            multiplicity=both.n_particles,
            is_reference=is_reference,
            weights=balanced(weights, is_reference),
        )

    def __len__(self) -> int:
        """Number of events."""
        return len(self.is_reference)

    @property
    def n_particles(self) -> IntArray:
        """(n_events,) particles per event."""
        return np.diff(self.offsets)

    def thinned(self, most: int, seed: int) -> "LabelledEvents":
        """At most so many particles an event, a random choice of them."""
        counts = self.n_particles
        if not len(counts) or counts.max() <= most:
            return self
        event = np.repeat(np.arange(len(self)), counts)
        # In a random order within each event, which of them come first?
        keys = hash_index(np.arange(len(event)), seed)
        order = np.lexsort((keys, event))
        place = np.arange(len(event)) - np.repeat(self.offsets[:-1], counts)
        kept = np.sort(order[place < most])
        offsets = np.concatenate([[0], np.cumsum(np.minimum(counts, most))])
        return replace(self, particles=self.particles[kept], offsets=offsets)

    def particle_rows(self, rows: IntArray) -> IntArray:
        """Where the particles of these events are, one event after another."""
        counts = self.n_particles[rows]
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        return np.repeat(self.offsets[rows] - ends + counts, counts) + np.arange(total)


def _particle_inputs(batch: EventBatch) -> Float32Array:
    phi = batch.particle("phi")
    waves = [function(n * phi) for n in HARMONICS for function in (np.cos, np.sin)]
    columns = [np.log(batch.particle("pt")), batch.particle("eta"), *waves]
    return np.stack(columns, axis=1).astype(np.float32, copy=False)


def balanced(weights: Float64Array, is_reference: BoolArray) -> Float64Array:
    """Weights scaled so that each class sums to half the number of events."""
    scaled = np.empty_like(weights)
    for rows in (is_reference, ~is_reference):
        scaled[rows] = weights[rows] * (len(weights) / (2 * weights[rows].sum()))
    return scaled


@dataclass(frozen=True, eq=False)
class Parts:
    """Indices of the events of each part; every event is in exactly one."""

    training: IntArray
    validation: IntArray
    test: IntArray


def split(is_reference: BoolArray, rng: np.random.Generator) -> Parts:
    """Divide each class at random into 70% training, 15% validation, 15% test."""
    pieces: list[list[IntArray]] = []
    for members in (np.flatnonzero(is_reference), np.flatnonzero(~is_reference)):
        shuffled = rng.permutation(members)
        cuts = np.round(np.cumsum([TRAINING_SHARE, VALIDATION_SHARE]) * len(members)).astype(
            np.int64
        )
        pieces.append(np.split(shuffled, cuts))
    return Parts(*(np.sort(np.concatenate(part)) for part in zip(*pieces, strict=True)))


@dataclass(frozen=True, eq=False)
class Scaling:
    """Mean and standard deviation of each input over the training part.

    Attributes:
        events: (2, 11) mean and standard deviation.
        particles: (2, 8)
    """

    events: Float32Array
    particles: Float32Array

    @classmethod
    def of(cls, data: LabelledEvents, rows: IntArray) -> "Scaling":
        """Constants from these events (the training part); a constant input keeps scale 1."""
        return cls(
            _mean_and_deviation(data.events[rows], len(EVENT_COLUMNS)),
            _mean_and_deviation(data.particles[data.particle_rows(rows)], len(PARTICLE_INPUTS)),
        )


def _mean_and_deviation(values: Float32Array, n_columns: int) -> Float32Array:
    if not len(values):
        return np.stack([np.zeros(n_columns), np.ones(n_columns)]).astype(np.float32)
    mean = values.mean(0, dtype=np.float64)
    deviation = values.std(0, dtype=np.float64)
    # A column of equal values may have a rounding-size deviation: it carries no information.
    constant = deviation <= 1e-6 * np.abs(mean)
    return np.stack([mean, np.where(constant, 1.0, deviation)]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some events as tensors, standardised.

    Attributes:
        events: (n_events, 11)
        particles: (n_particles_total, 8)
        event_of_particle: (n_particles_total,) int64
        n_particles: (n_events,) int64
        log_multiplicity: (n_events,) ln(1 + N) before any thinning
    """

    events: "torch.Tensor"
    particles: "torch.Tensor"
    event_of_particle: "torch.Tensor"
    n_particles: "torch.Tensor"
    log_multiplicity: "torch.Tensor"


def chunk(data: LabelledEvents, rows: IntArray, scaling: Scaling, device: "torch.device") -> Chunk:
    """The tensors of these events, in that order."""
    import torch

    counts = data.n_particles[rows]
    events = (data.events[rows] - scaling.events[0]) / scaling.events[1]
    particles = data.particles[data.particle_rows(rows)]
    particles = (particles - scaling.particles[0]) / scaling.particles[1]
    return Chunk(
        torch.from_numpy(events).to(device),
        torch.from_numpy(particles).to(device),
        torch.from_numpy(np.repeat(np.arange(len(rows)), counts)).to(device),
        torch.from_numpy(counts).to(device),
        torch.from_numpy(np.log1p(data.multiplicity[rows]).astype(np.float32)).to(device),
    )
