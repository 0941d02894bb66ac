"""Hard particles of an event, one after the other from the hardest down, by their likelihood.

A jet's core is narrow and rare: the squared error of a velocity hardly notices it, a likelihood
does. So the few hard particles are drawn before the others, each given those before it:

    p(hard particles) = product over i of p(score_i | before) p(eta_i, phi_i | score_i, before)

Of particles that know nothing of each other the law of the next hardest is known: all of those
left are below s with probability (Phi(s) / Phi(score before))^left, Phi the normal law. The network
says a mixture of normal laws of the score of that probability, standard normal to begin with; the
list ends where the next particle would be below the threshold. Places follow a mixture of the cells
of a grid in eta and phi and of narrow parts around each of the harder particles. A recurrent
network says these mixtures; it is told what the event's sums still miss. The logarithms of the
shares of cells are waves in phi, to which each of the harder particles adds some of its own, by its
distance in eta: what particles far apart know of each other is a few numbers there. So is how a
particle leans towards the event plane: of independent particles whose Q is known, by its pT times
what Q still misses over the number of those left.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hitools.core.nets.hard_laws import (
    CELL_ETAS,
    LOG_CELL_WIDTHS,
    Places,
    cell_phis,
    rank_of_score,
    score_of_rank,
)
from hitools.core.nets.layers import Dense
from hitools.core.nets.mixtures import LOG_WIDTHS, NormalMixture

N_HARMONICS: Final = 4
N_FEATURES: Final = 2 + 2 * N_HARMONICS
N_SCORE_PARTS: Final = 6

NEAR_WIDTHS: Final = (0.03, 0.08, 0.2, 0.4)
"""In phi, to begin with, of the parts around a harder particle."""

CELL_WIDTHS: Final = (0.35, 0.175)
"""Of cells, in the score of eta and in phi, to begin with: their sum can be a normal law."""

CELL_HARMONICS: Final = 3
"""Of the waves of the shares of cells."""

N_DISTANCES: Final = 5
"""In eta, between a cell and a harder particle: 0, 1, ... where all of eta is so many long."""

SCORE_PER_ETA: Final = 0.5
"""Of eta in the middle of |eta| < 2.5: widths in its score, relative to those in phi."""

N_NEAR: Final = len(NEAR_WIDTHS)

MOST_PARTNERS: Final = 24
"""Only so many of the hardest have parts: all pairs of a large event would be too many."""

HIGHEST: Final = 8.0
"""Score that no particle reaches."""

LEAN_PER_SCORE: Final = 0.75
"""Slope of ln pT of hard particles in their score (O-O)."""

LEAN_UNIT: Final = 4.0
"""Lean of a particle at the threshold where Q misses one unit per particle, roughly."""

N_NOISE: Final = 5
"""Normal numbers that a particle is drawn from."""

_UNIT: Final = 4.0
"""Of what sums miss, where it is bent."""


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
class HardEvents:
    """Hard particles of events, and what is known of these events.

    Attributes:
        particles: (n_hard, 3) scores of pT and eta, and phi from psi_2; hardest_first.
        counts: (n_events,) how many each event has.
        n_particles: (n_events,) particles in all.
        known: (n_events, n_known).
        totals: (n_events, n_sums) what all particles of an event add up to.
        added: (n_hard, n_sums) what each hard one adds.

    Sums are at least the number of particles, their sum pT, Q_x and Q_y (KnownSums.of_whole).
    """

    particles: Tensor
    counts: Tensor
    n_particles: Tensor
    known: Tensor
    totals: Tensor
    added: Tensor


class HardBranch(nn.Module):
    """The likelihood of the hard particles of events, and how they are drawn."""

    def __init__(self, n_known: int, n_sums: int, width: int, threshold: float) -> None:
        """Numbers known of an event, sums that are known of it, channels, lowest score of pT."""
        super().__init__()
        self.threshold = threshold
        self.begin_hidden = Dense(n_known + n_sums, 2 * width)
        self.begin_out = Dense(2 * width, width)
        self.hear = Dense(N_FEATURES + n_sums, width)
        self.memory = nn.GRU(width, width, batch_first=True)
        self.score_hidden = Dense(width, width)
        self.score_out = Dense(width, 3 * N_SCORE_PARTS)
        self.place_hidden = Dense(width + 3, width)
        self.leaning = nn.Parameter(torch.zeros(()))
        self.here = Dense(width, width)
        self.there = Dense(N_FEATURES, width)
        self.partner_hidden = Dense(width, width)
        self.partner_out = Dense(width, 3 * N_NEAR)
        self.cells_out = Dense(width, len(CELL_ETAS) * (1 + 2 * CELL_HARMONICS))
        self.bend_out = Dense(width, N_DISTANCES * (1 + CELL_HARMONICS))
        self.log_cell_widths = nn.Parameter(torch.tensor(CELL_WIDTHS).log())
        for layer in (self.score_out, self.partner_out):
            layer.weight.data.mul_(0.1)
        with torch.no_grad():
            parts = self.partner_out.bias.view(N_NEAR, 3)
            widths = torch.tensor(NEAR_WIDTHS)
            parts[:, 0] = -3.0
            parts[:, 1] = (SCORE_PER_ETA * widths).log()
            parts[:, 2] = widths.log()
            nn.init.zeros_(self.cells_out.weight)
            nn.init.zeros_(self.bend_out.weight)
            # Cells add up to a normal law in the score of eta, even in phi; together they have at
            # first forty times the share of the parts near one particle.
            cells = self.cells_out.bias.view(len(CELL_ETAS), -1)
            beyond = 1 - CELL_WIDTHS[0] ** 2
            cells[:, 0] = -2.7 - torch.tensor(CELL_ETAS).square() / (2 * beyond)

    def log_likelihood(self, events: HardEvents) -> Tensor:
        """(n_events,) logarithm of the density of the hard particles of each event."""
        lists = _Lists.of(events.counts)
        event, rank = lists.event, lists.rank
        states = self._states(lists, events)
        scores = events.particles[:, 0]
        lowest = lists.last_of(scores, HIGHEST)
        left = events.n_particles - lists.counts
        end, _ = rank_of_score(lowest.new_full(lowest.shape, self.threshold), lowest, left)
        last = states[lists.counts, torch.arange(len(lists.counts), device=end.device)]
        total = torch.where(left > 0, NormalMixture.of(self._ranks(last)).log_below(end), 0.0)
        said = states[rank, event]
        above = torch.where(rank == 0, HIGHEST, scores.roll(1))
        place, log_slope = rank_of_score(scores, above, events.n_particles[event] - rank)
        each = NormalMixture.of(self._ranks(said)).log_density(place) + log_slope
        where = self._where(lists, said, events)
        each = each + where.log_density(*events.particles[:, 1:].unbind(1))
        return total.index_add(0, event, each)

    def places(self, events: HardEvents) -> Places:
        """Laws of the place of each hard particle, given its score and those before it."""
        lists = _Lists.of(events.counts)
        said = self._states(lists, events)[lists.rank, lists.event]
        return self._where(lists, said, events)

    def _where(self, lists: "_Lists", said: Tensor, events: HardEvents) -> Places:
        particles = events.particles
        missing = lists.missing(events) + events.added
        lean = self._lean(particles[:, 0], missing.to(said.dtype))
        partners = lists.rows[lists.event, :MOST_PARTNERS]
        ranks = torch.arange(partners.shape[1], device=partners.device)
        is_harder = ranks < lists.rank[:, None]
        return self._places(said, particles[:, 0], lean, particles[partners], is_harder)

    def _states(self, lists: "_Lists", events: HardEvents) -> Tensor:
        """(most + 1, n_events, width): of each event, after so many of its particles."""
        beginning = self._begin(events.known, events.totals)
        states = beginning[None]
        if not len(events.particles):
            return states
        missing = lists.missing(events)
        heard = self._hear(events.particles, missing.to(states.dtype))
        filled = lists.counts.nonzero()[:, 0]
        packed = pack_padded_sequence(
            heard[lists.rows[filled]],
            lists.counts[filled].cpu(),
            batch_first=True,
            enforce_sorted=False,
        )
        found, _ = self.memory(packed, states[:, filled].contiguous())
        after, _ = pad_packed_sequence(found)
        of_all = after.new_zeros(len(after), *beginning.shape)
        return torch.cat([states, of_all.index_copy(1, filled, after)])

    @torch.no_grad()
    def draw(
        self,
        known: Tensor,
        totals: Tensor,
        n_particles: Tensor,
        noise: Callable[[Tensor, int], Tensor],
        adds: Callable[[Tensor, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Hard particles of events.

        Args:
            known: (n_events, n_known).
            totals: (n_events, n_sums).
            n_particles: (n_events,) most that an event may have.
            noise: of the events of these numbers, (n,), for the particle of this rank:
                (n, N_NOISE) normal numbers.
            adds: what (n, 3) particles add to the sums of the events of these numbers, (n, n_sums).

        Returns:
            (n_hard, 3) particles as in HardEvents, and (n_events,) how many.
        """
        going = (n_particles > 0).nonzero()[:, 0]
        state, missing = self._begin(known, totals)[going], totals[going]
        above = totals.new_full((len(going),), HIGHEST)
        harder = totals.new_zeros(len(going), 0, 3)
        drawn, events = [totals.new_zeros(0, 3)], [going[:0]]
        rank = 0
        while len(going):
            numbers = noise(going, rank)
            shares = torch.special.ndtr(numbers[:, :2])
            place = NormalMixture.of(self._ranks(state)).drawn(shares[:, 0], numbers[:, 2])
            scores = score_of_rank(place, above, n_particles[going] - rank)
            goes_on = (scores > self.threshold) & (rank < n_particles[going])
            going, state, scores, numbers, shares, missing, harder = (
                one[goes_on] for one in (going, state, scores, numbers, shares, missing, harder)
            )
            partners = harder[:, :MOST_PARTNERS]
            exists = partners.new_ones(partners.shape[:2], dtype=torch.bool)
            law = self._places(state, scores, self._lean(scores, missing), partners, exists)
            where = law.drawn(shares[:, 1], numbers[:, 3:])
            particles = torch.cat([scores[:, None], where], dim=1)
            drawn.append(particles)
            events.append(going)
            missing = missing - adds(particles, going)
            _, last = self.memory(self._hear(particles, missing)[:, None], state[None])
            state, above = last[0], scores
            harder = torch.cat([harder, particles[:, None]], dim=1)
            rank += 1
        event = torch.cat(events)
        return (
            torch.cat(drawn)[event.argsort(stable=True)],
            torch.bincount(event, minlength=len(known)),
        )

    # What the network says ---------------------------------------------------------------------

    def _begin(self, known: Tensor, totals: Tensor) -> Tensor:
        inputs = torch.cat([known, (totals / _UNIT).asinh()], dim=1)
        return self.begin_out(functional.silu(self.begin_hidden(inputs))).tanh()

    def _hear(self, particles: Tensor, missing: Tensor) -> Tensor:
        inputs = torch.cat([_features(particles), (missing / _UNIT).asinh()], dim=1)
        return functional.silu(self.hear(inputs))

    def _ranks(self, state: Tensor) -> Tensor:
        return self.score_out(functional.silu(self.score_hidden(state)))

    def _lean(self, scores: Tensor, missing: Tensor) -> Tensor:
        """(n, 2) towards Q, of particles with these scores, where sums still miss (n, n_sums)."""
        per_particle = LEAN_UNIT * missing[:, 2:4] / missing[:, :1].clamp(min=1)
        lean = per_particle * (LEAN_PER_SCORE * (scores - self.threshold)).exp()[:, None]
        size = lean.norm(dim=1, keepdim=True).clamp(min=1e-6)
        return lean * (size.asinh() / size)

    def _places(
        self, state: Tensor, scores: Tensor, lean: Tensor, partners: Tensor, exists: Tensor
    ) -> Places:
        """Law of the places of particles with these scores.

        Args:
            state: (n, width) before them.
            scores: (n,).
            lean: (n, 2) towards Q.
            partners: (n, m, 3) harder particles of the same events.
            exists: (n, m) which of them there are.
        """
        said = functional.silu(self.place_hidden(torch.cat([state, scores[:, None], lean], dim=1)))
        row, which = exists.nonzero().unbind(1)
        pair = self.here(said)[row] + self.there(_features(partners[row, which]))
        pair = functional.silu(self.partner_hidden(functional.silu(pair)))
        told = self.partner_out(pair).unflatten(1, (N_NEAR, 3))
        of_partners = told.new_zeros(*exists.shape, N_NEAR, 3)
        of_partners = of_partners.index_put((row, which), told)
        near_logit = of_partners[..., 0].masked_fill(~exists[..., None], -math.inf)
        cell_logit = self._cells(said, lean, self.bend_out(pair), partners[row, which], row)
        logit = torch.cat([near_logit.flatten(1), cell_logit.flatten(1)], dim=1)
        eta, phi = (partners[..., k].repeat_interleave(N_NEAR, dim=1) for k in (1, 2))
        return Places(
            logit.log_softmax(1),
            eta,
            of_partners[..., 1].flatten(1).clamp(*LOG_WIDTHS),
            phi,
            of_partners[..., 2].flatten(1).clamp(*LOG_WIDTHS),
            self.log_cell_widths.clamp(*LOG_CELL_WIDTHS),
        )

    def _cells(
        self, said: Tensor, lean: Tensor, bends: Tensor, partners: Tensor, row: Tensor
    ) -> Tensor:
        """(n, cells of eta, cells of phi) logarithms of shares.

        Args:
            said: (n, width) of the particles whose places are asked for.
            lean: (n, 2) towards Q, of these.
            bends: (n_pairs, N_DISTANCES * (1 + CELL_HARMONICS)) what each harder particle adds,
                by distance in eta: evenly in phi, and waves with a crest or a trough where it is.
            partners: (n_pairs, 3) the harder particles.
            row: (n_pairs,) whose places they bend.
        """
        _, eta, phi = partners.unbind(1)
        even, *amplitudes = torch.einsum(
            "ped,pdk->kpe", _by_distance(eta), bends.unflatten(1, (N_DISTANCES, -1))
        )
        waves = [
            amplitude * wave[:, None]
            for amplitude, turn in zip(amplitudes, _turns(phi).unbind(1), strict=True)
            for wave in (turn.cos(), turn.sin())
        ]
        bent = torch.stack([even, *waves], dim=2)
        field = self.cells_out(said).unflatten(1, (len(CELL_ETAS), -1)).index_add(0, row, bent)
        # Columns of Q's harmonic, in cos and sin.
        leaning = functional.pad(self.leaning * lean, (3, 2 * CELL_HARMONICS - 4))
        field = field + leaning[:, None]
        turns = _turns(cell_phis(said))
        shape = torch.stack([turns.cos(), turns.sin()], dim=2).flatten(1)
        return field[:, :, :1] + field[:, :, 1:] @ shape.T


def _by_distance(eta: Tensor) -> Tensor:
    """(n, cells of eta, N_DISTANCES) weights on the line between the nearest two distances."""
    here = N_DISTANCES * torch.special.ndtr(eta)
    there = N_DISTANCES * torch.special.ndtr(eta.new_tensor(CELL_ETAS))
    apart = (here[:, None] - there).abs().clamp(max=N_DISTANCES - 1)
    steps = torch.arange(N_DISTANCES, device=eta.device)
    return (1 - (apart[:, :, None] - steps).abs()).clamp(min=0)


def _turns(phi: Tensor) -> Tensor:
    """(n, CELL_HARMONICS) multiples of (n,) azimuths."""
    return phi[:, None] * torch.arange(1, CELL_HARMONICS + 1, device=phi.device)


@dataclass(frozen=True)
class _Lists:
    """Where the hard particles of each event stand, one event after the other.

    Attributes:
        counts: (n_events,) how many.
        event: (n_hard,) whose each is.
        rank: (n_hard,) how many of its event are before it.
        first: (n_events,) row of the first.
        rows: (n_events, most) rows of all; 0 where there is none.
    """

    counts: Tensor
    event: Tensor
    rank: Tensor
    first: Tensor
    rows: Tensor

    @classmethod
    def of(cls, counts: Tensor) -> "_Lists":
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
        """(n_hard, k) sums of (n_hard, k) over each particle and those of its event before it.

        In float64, as they are differences of sums over all events.
        """
        through = added.double().cumsum(0)
        before = torch.cat([through.new_zeros(1, through.shape[1]), through])
        return through - before[self.first[self.event]]

    def missing(self, events: HardEvents) -> Tensor:
        """(n_hard, n_sums) what the sums still miss after each particle."""
        return events.totals[self.event] - self.running_sums(events.added)

    def last_of(self, values: Tensor, otherwise: float) -> Tensor:
        """(n_events,) of the last of each event; otherwise, where it has none."""
        more = torch.cat([values, values.new_full((1,), otherwise)])
        return more[torch.where(self.counts > 0, self.first + self.counts - 1, len(values))]


def _features(particles: Tensor) -> Tensor:
    """(n, 3) scores and phi to (n, N_FEATURES)."""
    order = torch.arange(1, N_HARMONICS + 1, device=particles.device)
    waves = particles[:, 2:] * order
    return torch.cat([particles[:, :2], waves.cos(), waves.sin()], dim=1)
