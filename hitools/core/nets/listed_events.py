"""Particles of events in lists, from the hardest down, and where each stands in them."""

from dataclasses import dataclass

import torch
from torch import Tensor


def hardest_first(scores: Tensor, hard: Tensor, event: Tensor) -> Tensor:
    """(n_hard,) rows of the hard particles, event by event, in each from the hardest down.

    Args:
        scores: (n_total,) of pT.
        hard: (n_total,) which are.
        event: (n_total,) number of each particle's event.
    """
    rows = hard.nonzero()[:, 0]
    rows = rows[scores[rows].argsort(descending=True, stable=True)]
    return rows[event[rows].argsort(stable=True)]


@dataclass(frozen=True)
class ListedEvents:
    """Particles of events that stand in lists, and what is known of these events.

    Attributes:
        particles: (n_listed, 3) scores of pT and eta, and phi from psi_2; hardest_first.
        counts: (n_events,) how many each event has.
        n_particles: (n_events,) particles in all.
        known: (n_events, n_known).
        totals: (n_events, n_sums) what all particles of an event add up to.
        added: (n_listed, n_sums) what each listed one adds.

    Sums are at least the number of particles, their sum pT, Q_x and Q_y (KnownSums.of_whole).
    """

    particles: Tensor
    counts: Tensor
    n_particles: Tensor
    known: Tensor
    totals: Tensor
    added: Tensor


@dataclass(frozen=True)
class Lists:
    """Where the listed particles of each event stand, one event after the other.

    Attributes:
        counts: (n_events,) how many.
        event: (n_listed,) whose each is.
        rank: (n_listed,) how many of its event are before it.
        first: (n_events,) row of the first.
        rows: (n_events, most) rows of all; 0 where there is none.
    """

    counts: Tensor
    event: Tensor
    rank: Tensor
    first: Tensor
    rows: Tensor

    @classmethod
    def of(cls, counts: Tensor) -> "Lists":
        """From (n_events,) numbers of particles."""
        total = int(counts.sum())
        every = torch.arange(total, device=counts.device)
        event = torch.repeat_interleave(counts, output_size=total)
        first = counts.cumsum(0) - counts
        rank = every - first[event]
        most = int(counts.max()) if len(counts) else 0
        rows = torch.zeros(len(counts), most, dtype=torch.int64, device=counts.device)
        rows[event, rank] = every
        return cls(counts, event, rank, first, rows)

    def running_sums(self, added: Tensor) -> Tensor:
        """(n_listed, k) sums of (n_listed, k) over each particle and those of its event before it.

        In float64, as they are differences of sums over all events.
        """
        through = added.double().cumsum(0)
        before = torch.cat([through.new_zeros(1, through.shape[1]), through])
        return through - before[self.first[self.event]]

    def sums(self, added: Tensor) -> Tensor:
        """(n_events, k) sums of (n_listed, k) over the particles of each, in float64."""
        found = added.new_zeros(len(self.counts), added.shape[1], dtype=torch.float64)
        return found.index_add(0, self.event, added.double())

    def missing(self, events: ListedEvents) -> Tensor:
        """(n_listed, n_sums) what the sums still miss after each particle."""
        return events.totals[self.event] - self.running_sums(events.added)

    def last_of(self, values: Tensor, otherwise: float) -> Tensor:
        """(n_events,) of the last of each event; otherwise, where it has none."""
        more = torch.cat([values, values.new_full((1,), otherwise)])
        return more[torch.where(self.counts > 0, self.first + self.counts - 1, len(values))]
