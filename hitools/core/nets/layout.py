"""Where each event lies among packed particles: what normalisation, attention and neighbours share.

Built once per forward pass from the offsets, then handed to every layer.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Layout:
    """A packing of events.

    Attributes:
        counts: particles per event, on the host.
        n_particles: (n_events,) int64 the same on the device.
        event_of_particle: (n_total,) int64 index of each particle's event, on the device.
    """

    counts: tuple[int, ...]
    n_particles: Tensor
    event_of_particle: Tensor

    @classmethod
    def from_offsets(cls, offsets: Tensor, device: torch.device) -> "Layout":
        """Read the packing from (n_events + 1,) int64 offsets.

        Offsets on the host cost no synchronisation with the device.
        """
        n_particles = offsets.diff()
        counts = tuple(n_particles.tolist())
        n_particles = n_particles.to(device, non_blocking=True)
        event_of_particle = torch.repeat_interleave(n_particles, output_size=sum(counts))
        return cls(counts, n_particles, event_of_particle)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First row of each event."""
        return tuple(accumulate(self.counts, initial=0))[:-1]

    @cached_property
    def longest(self) -> int:
        """Particles of the largest event."""
        return max(self.counts, default=0)

    @cached_property
    def runs(self) -> tuple[tuple[int, int], ...]:
        """Number and length of neighbouring events of one length: stacks without padding."""
        return tuple((len(list(run)), count) for count, run in groupby(self.counts))

    @cached_property
    def filled_offsets(self) -> Tensor:
        """(n_filled + 1,) int64 offsets of the events that hold particles, on the device."""
        filled = [count for count in self.counts if count]
        return torch.tensor(list(accumulate(filled, initial=0)), device=self.n_particles.device)

    def mean(self, values: Tensor) -> Tensor:
        """Mean per event of (n_total,) values, as (n_events,); 0 for an event without particles.

        Summed in float64, so that neither the order of a device's atomic additions nor the
        length of the event shows in the result.
        """
        sums = torch.zeros(len(self.n_particles), dtype=torch.float64, device=values.device)
        sums = sums.index_add(0, self.event_of_particle, values.double())
        return (sums / self.n_particles.clamp(min=1)).to(values.dtype)

    def spread(self, values: Tensor) -> Tensor:
        """Hand each particle its event's row: (n_events, ...) to (n_total, ...)."""
        return values.index_select(0, self.event_of_particle)

    def spread_times(self, values: Tensor) -> Tensor:
        """The same for (n_events, 1) numbers, or a single one for all, which stays as it is."""
        return self.spread(values) if values.dim() else values

    def stacked(self, values: Tensor) -> list[Tensor]:
        """(n_total, ...) particles of each of runs, (n_events, length, ...): views, no copies."""
        parts = values.split([n_events * length for n_events, length in self.runs])
        return [part.unflatten(0, run) for part, run in zip(parts, self.runs, strict=True)]

    def times(self, rows: Tensor, matrices: Tensor) -> Tensor:
        """Each particle's row times its event's matrix.

        Args:
            rows: (n_total, a).
            matrices: (n_events, a, b).

        Returns:
            (n_total, b).
        """
        if rows.device.type != "cpu" or not self.runs:
            return (rows[:, None] @ self.spread(matrices))[:, 0]
        of_runs = matrices.split([n_events for n_events, _ in self.runs])
        products = map(torch.bmm, self.stacked(rows), of_runs)
        return torch.cat([product.flatten(0, 1) for product in products])
