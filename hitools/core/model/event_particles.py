"""Particles of some events that are sampled together, and those of them that are known before."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class EventParticles:
    """The particles of some events, which go through the network together.

    Those that are known, as they were drawn before, come first in their event.

    Attributes:
        number: (n_events,) of the events.
        given: (n_events, n_given) what particles are sampled given.
        offsets: (n_events + 1,) int64 on the host.
        counts: (n_events,) particles of each event.
        known: (n_known_in_all, columns) particles in model space.
        n_known: (n_events,) how many of them each event has.
        hard_sums: (n_events, n_hard_sums) what they add to the sums.
    """

    number: Tensor
    given: Tensor
    offsets: Tensor
    counts: Tensor
    known: Tensor
    n_known: Tensor
    hard_sums: Tensor

    def __len__(self) -> int:
        """Number of events."""
        return len(self.number)

    def __getitem__(self, some: slice) -> "EventParticles":
        """Some events in a row."""
        start, stop, _ = some.indices(len(self))
        before, here = int(self.n_known[:start].sum()), int(self.n_known[some].sum())
        return EventParticles(
            self.number[some],
            self.given[some],
            self.offsets[start : stop + 1] - self.offsets[start],
            self.counts[some],
            self.known[before : before + here],
            self.n_known[some],
            self.hard_sums[some],
        )

    @property
    def n_open(self) -> int:
        """Number of the first events up to the last that still has a particle to be drawn."""
        open_ones = (self.counts > self.n_known).nonzero()[:, 0]
        return int(open_ones[-1]) + 1 if len(open_ones) else 0

    @cached_property
    def _place(self) -> tuple[Tensor, Tensor]:
        """(n_total,) of all particles: which event is theirs, and where in it they are."""
        total = int(self.offsets[-1])
        which = torch.repeat_interleave(self.counts, output_size=total)
        starts = self.offsets[:-1].to(self.counts.device)
        return which, torch.arange(total, device=which.device) - starts[which]

    @cached_property
    def _is_known(self) -> Tensor:
        which, place = self._place
        return place < self.n_known[which]

    @cached_property
    def to_draw(self) -> Tensor:
        """(n_drawn,) rows of the particles that are to be drawn."""
        return (~self._is_known).nonzero()[:, 0]

    @cached_property
    def _which(self) -> Tensor:
        """(n_drawn,) place among these events of each particle's that is to be drawn."""
        return self._place[0][self.to_draw]

    @cached_property
    def event(self) -> Tensor:
        """(n_drawn,) number of the event of each particle that is to be drawn."""
        return self.number[self._which]

    @cached_property
    def row(self) -> Tensor:
        """(n_drawn,) its place among those of its event."""
        return self._place[1][self.to_draw] - self.n_known[self._which]

    def joined(self, drawn: Tensor) -> Tensor:
        """(n_drawn, features) particles and those that are known: (n_total, columns)."""
        columns = self.known.shape[1]
        if columns == drawn.shape[1]:
            return drawn
        found = drawn.new_zeros(len(drawn) + len(self.known), columns)
        found[self.to_draw, : drawn.shape[1]] = drawn
        found[self._is_known.nonzero()[:, 0]] = self.known
        return found

    def spread(self, values: Tensor) -> Tensor:
        """Hand each particle its event's row: (n_events, k) to (n_drawn, k)."""
        return values[self._which]

    def mean(self, values: Tensor) -> Tensor:
        """Of the particles of each event, (n_drawn, k) to (n_events, k)."""
        sums = values.new_zeros(len(self), values.shape[1]).index_add(0, self._which, values)
        return sums / (self.counts - self.n_known).clamp(min=1)[:, None]
