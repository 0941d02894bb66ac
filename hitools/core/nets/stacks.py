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

    def tiles(self) -> Iterator[slice]:
        """Slots of the second axis, a tile at a time."""
        length = self.real.shape[1]
        return (slice(start, start + self.tile) for start in range(0, length, self.tile))


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
