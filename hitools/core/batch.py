"""EventBatch: a batch of events with particles packed one after another, without padding.

Readers yield it, observables take it, generators produce it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hitools.core.features import (
    EVENT_INDEX,
    PARTICLE_INDEX,
    BoolArray,
    Float32Array,
    FloatArray,
    IntArray,
    features,
)


@dataclass(frozen=True, eq=False)
class EventBatch:
    """Some events in a row.

    Attributes:
        events: (n_events, 11) float32, columns as in features.EVENT_COLUMNS.
        particles: (n_particles_total, 6) float32, columns as in features.PARTICLE_COLUMNS.
        offsets: (n_events + 1,) int64; event k holds particles[offsets[k]:offsets[k+1]].
        weights: (n_events,) float32 event weights, or None where every weight is 1.
    """

    events: Float32Array
    particles: Float32Array
    offsets: IntArray
    weights: Float32Array | None = None

    @classmethod
    def from_particles(
        cls,
        pt: FloatArray,
        eta: FloatArray,
        phi: FloatArray,
        n_particles: IntArray,
        b: FloatArray,
        n_coll: FloatArray,
        n_part: FloatArray,
        weights: FloatArray | None = None,
    ) -> "EventBatch":
        """Build all derived columns from (pT, eta, phi) and the collision geometry.

        See features.features.

        Args:
            pt: (n_particles_total,) GeV/c, events one after another.
            eta: (n_particles_total,) pseudorapidity.
            phi: (n_particles_total,) azimuth, any branch.
            n_particles: (n_events,) particles per event.
            b: (n_events,) impact parameter in fm.
            n_coll: (n_events,) nucleon-nucleon collisions.
            n_part: (n_events,) participants.
            weights: (n_events,) or None.
        """
        offsets = np.concatenate([[0], np.cumsum(n_particles)]).astype(np.int64)
        pt, eta, phi = (np.asarray(x).astype(np.float32) for x in (pt, eta, phi))
        events, particles = features(pt, eta, phi, offsets, b, n_coll, n_part)
        stored = None if weights is None else np.asarray(weights).astype(np.float32)
        return cls(events, particles, offsets, stored)

    @classmethod
    def empty(cls) -> "EventBatch":
        """A batch without events."""
        return cls(
            np.zeros((0, 11), np.float32), np.zeros((0, 6), np.float32), np.zeros(1, np.int64)
        )

    @classmethod
    def concatenate(cls, batches: Sequence["EventBatch"]) -> "EventBatch":
        """All events of the batches in order; weights of 1 are filled in where some have them."""
        if len(batches) == 1:
            return batches[0]
        if not batches:
            return cls.empty()
        weighted = any(batch.weights is not None for batch in batches)
        return cls(
            np.concatenate([batch.events for batch in batches]),
            np.concatenate([batch.particles for batch in batches]),
            np.concatenate(
                [[0], np.cumsum(np.concatenate([b.n_particles for b in batches]))]
            ).astype(np.int64),
            np.concatenate([batch.weights_or_ones for batch in batches]) if weighted else None,
        )

    def __len__(self) -> int:
        """Number of events."""
        return len(self.offsets) - 1

    @cached_property
    def n_particles(self) -> IntArray:
        """(n_events,) int64 particles per event, from the packing itself."""
        return np.diff(self.offsets)

    @cached_property
    def event_of_particle(self) -> IntArray:
        """(n_particles_total,) int64 index of each particle's event in this batch."""
        return np.repeat(np.arange(len(self)), self.n_particles)

    @property
    def weights_or_ones(self) -> Float32Array:
        """(n_events,) float32 event weights, 1 where the source had none."""
        return np.ones(len(self), np.float32) if self.weights is None else self.weights

    def event(self, column: str) -> Float32Array:
        """(n_events,) one event column by name. Raises KeyError for an unknown name."""
        return self.events[:, EVENT_INDEX[column]]

    def particle(self, column: str) -> Float32Array:
        """(n_particles_total,) one particle column by name. Raises KeyError if unknown."""
        return self.particles[:, PARTICLE_INDEX[column]]

    def __getitem__(self, rows: slice) -> "EventBatch":
        """A contiguous run of events, without copying the particles."""
        start, stop, step = rows.indices(len(self))
        if step != 1:
            return self.take(np.arange(start, stop, step))
        stop = max(start, stop)
        first, last = self.offsets[start], self.offsets[stop]
        return EventBatch(
            self.events[start:stop],
            self.particles[first:last],
            self.offsets[start : stop + 1] - first,
            None if self.weights is None else self.weights[start:stop],
        )

    def take(self, rows: IntArray | BoolArray) -> "EventBatch":
        """The events at these indices, or where the mask is true, in that order."""
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        counts = self.n_particles[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        source = np.repeat(self.offsets[rows] - offsets[:-1], counts) + np.arange(offsets[-1])
        return EventBatch(
            self.events[rows],
            self.particles[source],
            offsets,
            None if self.weights is None else self.weights[rows],
        )

    def recomputed(self) -> "EventBatch":
        """The same particles, every derived column computed from them again; geometry kept."""
        return EventBatch.from_particles(
            self.particle("pt"),
            self.particle("eta"),
            self.particle("phi"),
            self.n_particles,
            self.event("b"),
            self.event("n_coll"),
            self.event("n_part"),
            self.weights,
        )

    def split(self, max_particles: int, max_events: int | None = None) -> Iterator["EventBatch"]:
        """Cut into runs that hold at most max_particles each (a larger event stands alone)."""
        for rows in runs_by_budget(self.offsets, max_particles, max_events):
            yield self[rows]


def runs_by_budget(
    offsets: IntArray, max_particles: int, max_events: int | None = None
) -> Iterator[slice]:
    """Cut events into runs of at most max_particles each; a larger event stands alone.

    Args:
        offsets: (n_events + 1,) event k holds particles offsets[k]:offsets[k+1].
        max_particles: budget of a run.
        max_events: a second limit, where given.
    """
    start, n_events = 0, len(offsets) - 1
    while start < n_events:
        stop = int(np.searchsorted(offsets, offsets[start] + max_particles, side="right")) - 1
        stop = min(max(stop, start + 1), n_events)
        if max_events is not None:
            stop = min(stop, start + max_events)
        yield slice(start, stop)
        start = stop
