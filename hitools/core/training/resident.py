"""Training events on the device: put there once, gathered and turned where the network uses them.

For a training on a GPU. All that is per event stays on the host, where steps are put together; only
particles live on the device, and what a step sends there is a few numbers an event.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from torch import Tensor

from hitools.core.batch import EventBatch
from hitools.core.features import Float32Array, Float64Array, IntArray
from hitools.core.symmetry import turned, turned_features

SHARE: Final = 0.25
"""Of a GPU's free memory for events. Three quarters are left for the network: enough for the
largest event of any network that would not soon be too large for the whole."""

_COPIED_AT_ONCE: Final = 1 << 22
"""Particles, 100 MB: events may lie in a file that is larger than the memory of the host."""


@dataclass(frozen=True, eq=False)
class ResidentEvents:
    """All events, their particles on a device.

    Attributes:
        host: the same events in the memory, or a file, of the host.
        particles: (n_particles_total, 6) float32 on the device.
    """

    host: EventBatch
    particles: Tensor

    @classmethod
    def on(cls, events: EventBatch, device: torch.device) -> "ResidentEvents":
        """Copy the particles there. Raises OutOfMemoryError."""
        particles = torch.empty(events.particles.shape, device=device)
        for first in range(0, len(particles), _COPIED_AT_ONCE):
            rows = slice(first, first + _COPIED_AT_ONCE)
            particles[rows] = torch.from_numpy(np.array(events.particles[rows])).to(device)
        return cls(events, particles)


@dataclass(frozen=True, eq=False)
class ResidentBatch:
    """Some events in a row, whose particles are still to be gathered on their device.

    Attributes:
        source: (n_particles_total, 6) particles of all events, on the device.
        starts: (n_events,) first row in source of each event here.
        offsets: (n_events + 1,) int64 of these events, packed.
        events: (n_events, 11) float32 their vectors, before they are turned.
        weights_or_ones: (n_events,) float32.
        orientation: (3, n_events) how they are turned (symmetry.orientations); None leaves them.
    """

    source: Tensor
    starts: IntArray
    offsets: IntArray
    events: Float32Array
    weights_or_ones: Float32Array
    orientation: Float64Array | None

    @cached_property
    def n_particles(self) -> IntArray:
        """(n_events,) int64 particles per event."""
        return np.diff(self.offsets)

    def gathered(self) -> tuple[Tensor, Tensor]:
        """(n_events, 11) vectors and (n_total, 6) particles on the device."""
        device, total = self.source.device, int(self.offsets[-1])
        offsets, events, shifts = (
            torch.from_numpy(array).to(device, non_blocking=True)
            for array in (self.offsets, self.events, self.starts - self.offsets[:-1])
        )
        rows = torch.repeat_interleave(shifts, offsets.diff(), output_size=total)
        particles = self.source[rows + torch.arange(total, device=device)]
        if self.orientation is None:
            return events, particles
        orientation = torch.from_numpy(self.orientation).to(device, non_blocking=True)
        return turned_features(events, particles, offsets, orientation)


Events = EventBatch | ResidentEvents
"""What steps are taken from."""

StepEvents = EventBatch | ResidentBatch
"""What a step holds."""


def settled(events: EventBatch, device: torch.device, memory_gb: float | None) -> Events:
    """The events on the device where it is a GPU that has room for them, else as they are.

    Args:
        events: all of them.
        device: of the network.
        memory_gb: the user's limit for events in memory; None for none.
    """
    if device.type != "cuda":
        return events
    free, _ = torch.cuda.mem_get_info(device)
    if events.particles.nbytes > room(free, memory_gb):
        return events
    try:
        return ResidentEvents.on(events, device)
    except torch.OutOfMemoryError:  # other processes use the GPU too
        return events


def room(free: int, memory_gb: float | None) -> int:
    """Bytes of events that may be put on a device with so many bytes free."""
    share = int(SHARE * free)
    return share if memory_gb is None else min(share, int(memory_gb * 1e9))


def chosen(events: Events, rows: IntArray, orientation: Float64Array | None) -> StepEvents:
    """The events of these rows, each in its orientation, or as it is where that is None."""
    if isinstance(events, EventBatch):
        batch = events.take(rows)
        return batch if orientation is None else turned(batch, orientation)
    host = events.host
    return ResidentBatch(
        source=events.particles,
        starts=host.offsets[rows],
        offsets=np.concatenate([[0], np.cumsum(host.n_particles[rows])]).astype(np.int64),
        events=host.events[rows],
        weights_or_ones=host.weights_or_ones[rows],
        orientation=orientation,
    )


def tensors(batch: StepEvents, device: torch.device) -> tuple[Tensor, Tensor]:
    """Event vectors (n_events, 11) and particles (n_total, 6) on the device of the network."""
    if isinstance(batch, ResidentBatch):
        return batch.gathered()
    events, particles = (
        torch.from_numpy(array).to(device, non_blocking=True)
        for array in (batch.events, batch.particles)
    )
    return events, particles
