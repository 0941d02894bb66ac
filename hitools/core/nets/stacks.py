"""Events of similar length side by side, for what compares all particles of an event in pairs.

Everything else runs on packed particles; here alone is padding, and memory grows with the number of
particles and not with its square, as distances are worked out a tile of rows at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hitools.core.nets.layout import Layout

TILE_ELEMENTS = {"cpu": 1 << 18}
DEFAULT_TILE_ELEMENTS = 1 << 25
"""Distances held at once; on the CPU they stay in the second-level cache."""

LENGTH_RATIO = {"cpu": 1.0}
DEFAULT_LENGTH_RATIO = 1.2
"""Longest over shortest event of a stack. A GPU pads to spare kernels, the CPU does not.

With 1.2 some 6 to 8% of the slots of O-O events are padding, with 1.5 it was 15 to 18%.
"""


@dataclass(frozen=True)
class Stack:
    """Events of similar length, padded to the longest.

    Attributes:
        events: (g,) which events of the layout.
        count: (g, 1) particles of each.
        real: (g, n) False where a slot is padding.
        rows: (g, n) row of each slot's particle; padding has its event's first.
        targets: (g, n) the same, but padding has one beyond the last particle of all, for results.
        tile: rows of a tile.
    """

    events: Tensor
    count: Tensor
    real: Tensor
    rows: Tensor
    targets: Tensor
    tile: int

    @classmethod
    def of(cls, layout: Layout, events: list[int], device: torch.device) -> "Stack":
        """The stack of these events."""
        places = [events, [layout.starts[k] for k in events], [layout.counts[k] for k in events]]
        which, first, count = torch.tensor(places, device=device)[:, :, None]
        own = torch.arange(max(places[2]), device=device)
        real = own < count
        return cls(
            which[:, 0],
            count,
            real,
            torch.where(real, first + own, first),
            torch.where(real, first + own, len(layout.event_of_particle)),
            max(1, _largest(device.type) // real.numel()),
        )

    def take(self, values: Tensor) -> Tensor:
        """(n_total, k) rows of the particles as (g, n, k), 0 where a slot is padding."""
        return values[self.rows] * self.real[..., None]

    def put(self, values: Tensor, out: Tensor, tile: slice) -> None:
        """Write (g, r, k) rows of a tile into (n_total + 1, k); the last row takes the padding."""
        out[self.targets[:, tile]] = values

    def tiles(self) -> Iterator[slice]:
        """Slots of the second axis, a tile at a time."""
        return _tiles(self.real.shape[1], self.tile)


@dataclass(frozen=True)
class Run:
    """Neighbouring events of one length: a stack without padding, of views instead of copies.

    Attributes:
        events: which events of the layout.
        rows: of their particles.
        shape: events, and particles of each.
    """

    events: slice
    rows: slice
    shape: tuple[int, int]

    def take(self, values: Tensor) -> Tensor:
        """See Stack."""
        return values[self.rows].unflatten(0, self.shape)

    def put(self, values: Tensor, out: Tensor, tile: slice) -> None:
        """See Stack."""
        self.take(out)[:, tile] = values

    def tiles(self) -> Iterator[slice]:
        """See Stack."""
        n_events, length = self.shape
        return _tiles(length, max(1, _largest("cpu") // (n_events * length)))


def pieces(layout: Layout, device: torch.device) -> Iterator[Stack | Run]:
    """All events of two particles or more: as they lie on the CPU, in stacks elsewhere."""
    if device.type == "cpu":
        return _runs(layout)
    return stacks(layout, device)


def _runs(layout: Layout) -> Iterator[Run]:
    event = row = 0
    for n_events, length in layout.runs:
        end = row + n_events * length
        if length > 1:
            yield Run(slice(event, event + n_events), slice(row, end), (n_events, length))
        event, row = event + n_events, end


def _tiles(length: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, length, size))


def stacks(layout: Layout, device: torch.device) -> Iterator[Stack]:
    """All events of two particles or more, in stacks."""
    return (Stack.of(layout, events, device) for events in similar_events(layout, device.type))


def similar_events(layout: Layout, device: str) -> Iterator[list[int]]:
    """Events to stack, by their place in the layout; those of one particle are left out."""
    ratio = LENGTH_RATIO.get(device, DEFAULT_LENGTH_RATIO)
    together: list[int] = []
    shortest = 0
    for count, event in sorted((count, k) for k, count in enumerate(layout.counts)):
        if count < 2:
            continue
        too_large = (len(together) + 1) * count**2 > _largest(device)
        if together and (too_large or count > ratio * shortest):
            yield together
            together = []
        if not together:
            shortest = count
        together.append(event)
    if together:
        yield together


def _largest(device: str) -> int:
    return TILE_ELEMENTS.get(device, DEFAULT_TILE_ELEMENTS)
