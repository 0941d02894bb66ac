"""Particles of an event one after the other, from the hardest down, by their likelihood.

    p(particles) = product over i of p(score_i | before) p(eta_i, phi_i | score_i, before)

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

Lists are of the hard particles of an event (hard_branch.py), or of all of it (whole_branch.py).
"""

import math
from abc import ABC, abstractmethod
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
    ONE_TURN,
    TURNS,
    Places,
    cell_phis,
    rank_of_score,
    score_of_rank,
)
from hitools.core.nets.layers import Dense
from hitools.core.nets.listed_events import ListedEvents, Lists
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

HIGHEST: Final = 8.0
"""Score that no particle reaches."""

LEAN_PER_SCORE: Final = 0.75
"""Slope of ln pT of hard particles in their score (O-O)."""

LEAN_UNIT: Final = 4.0
"""Lean of a particle of the score from which leans are counted, where Q misses one unit per
particle, roughly."""

N_NOISE: Final = 5
"""Normal numbers that a particle is drawn from."""

_UNIT: Final = 4.0
"""Of what sums miss, where it is bent."""


@dataclass(frozen=True)
class Before:
    """What is known when a particle is to be drawn.

    Attributes:
        state: (n, width) what the network keeps of those before it.
        known: (n, n_known) of its event.
        missing: (n, n_sums) what the sums of its event miss.
        above: (n,) score of the one before it.
        left: (n,) how many are left, this one included.
    """

    state: Tensor
    known: Tensor
    missing: Tensor
    above: Tensor
    left: Tensor


@dataclass(frozen=True)
class Inputs:
    """How many numbers a branch is told besides what all are told.

    Attributes:
        begin: of an event, at its beginning.
        hear: of each particle once it is there.
        score: where its score is asked for.
        place: where its place is.
    """

    begin: int = 0
    hear: int = 0
    score: int = 0
    place: int = 0


class ListBranch(nn.Module, ABC):
    """The likelihood of lists of particles, and how they are drawn."""

    most_partners: int
    """Only so many of the hardest have parts: all pairs of a large event would be too many."""

    log_widths: tuple[float, float] = LOG_WIDTHS
    """Least and largest of the laws of scores, and of the parts of the law of a place in eta."""

    log_phi_widths: tuple[float, float] = LOG_WIDTHS
    """The same in phi."""

    def __init__(
        self,
        n_known: int,
        n_sums: int,
        width: int,
        threshold: float,
        pair_width: int,
        inputs: Inputs,
    ) -> None:
        """Numbers known of an event, its sums, channels, lowest score; channels of pairs."""
        super().__init__()
        self.threshold = threshold
        self.begin_hidden = Dense(n_known + n_sums + inputs.begin, 2 * width)
        self.begin_out = Dense(2 * width, width)
        self.hear = Dense(N_FEATURES + n_sums + inputs.hear, width)
        self.memory = nn.GRU(width, width, batch_first=True)
        self.score_hidden = Dense(width + inputs.score, width)
        self.score_out = Dense(width, 3 * N_SCORE_PARTS)
        self.place_hidden = Dense(width + 3 + inputs.place, width)
        self.leaning = nn.Parameter(torch.zeros(()))
        self.here = Dense(width, pair_width)
        self.there = Dense(N_FEATURES, pair_width)
        self.partner_hidden = Dense(pair_width, pair_width)
        self.partner_out = Dense(pair_width, 3 * N_NEAR)
        self.cells_out = Dense(width, len(CELL_ETAS) * (1 + 2 * CELL_HARMONICS))
        self.bend_out = Dense(pair_width, N_DISTANCES * (1 + CELL_HARMONICS))
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

    def log_likelihood(self, events: ListedEvents) -> Tensor:
        """(n_events,) logarithm of the density of the listed particles of each event."""
        lists = Lists.of(events.counts)
        states = self._states(lists, events)
        before = self._before(lists, states, events)
        scores = events.particles[:, 0]
        place, log_slope = rank_of_score(scores, before.above, before.left)
        each = self._score_law(before).log_density(place) + log_slope
        each = each + self._where(lists, before, events).log_density(
            *events.particles[:, 1:].unbind(1)
        )
        return self._log_end(lists, states, events).index_add(0, lists.event, each)

    def places(self, events: ListedEvents) -> Places:
        """Laws of the place of each listed particle, given its score and those before it."""
        lists = Lists.of(events.counts)
        before = self._before(lists, self._states(lists, events), events)
        return self._where(lists, before, events)

    def _before(self, lists: Lists, states: Tensor, events: ListedEvents) -> Before:
        event, rank = lists.event, lists.rank
        missing = (lists.missing(events) + events.added).to(states.dtype)
        above = torch.where(rank == 0, HIGHEST, events.particles[:, 0].roll(1))
        left = events.n_particles[event] - rank
        return Before(states[rank, event], events.known[event], missing, above, left)

    def _log_end(self, lists: Lists, states: Tensor, events: ListedEvents) -> Tensor:
        """(n_events,) logarithm of the probability that no more follow."""
        found = states.new_zeros(len(lists.counts))
        left = events.n_particles - lists.counts
        some = (left > 0).nonzero()[:, 0]
        if not len(some):
            return found
        lowest = lists.last_of(events.particles[:, 0], HIGHEST)[some]
        missing = (events.totals - lists.sums(events.added))[some].to(states.dtype)
        last = states[lists.counts[some], some]
        before = Before(last, events.known[some], missing, lowest, left[some])
        end, _ = rank_of_score(torch.full_like(lowest, self.threshold), lowest, left[some])
        return found.index_copy(0, some, self._score_law(before).log_below(end))

    def _where(self, lists: Lists, before: Before, events: ListedEvents) -> Places:
        particles = events.particles
        partners = lists.rows[lists.event, : self.most_partners]
        ranks = torch.arange(partners.shape[1], device=partners.device)
        is_harder = ranks < lists.rank[:, None]
        return self._place_law(before, particles[:, 0], particles[partners], is_harder)

    def _states(self, lists: Lists, events: ListedEvents) -> Tensor:
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
        """Particles of events.

        Args:
            known: (n_events, n_known).
            totals: (n_events, n_sums).
            n_particles: (n_events,) most that an event may have.
            noise: of the events of these numbers, (n,), for the particle of this rank:
                (n, N_NOISE) normal numbers.
            adds: what (n, 3) particles add to the sums of the events of these numbers, (n, n_sums).

        Returns:
            (n_listed, 3) particles as in ListedEvents, and (n_events,) how many.
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
            left = n_particles[going] - rank
            before = Before(state, known[going], missing, above, left)
            place = self._score_law(before).drawn(shares[:, 0], numbers[:, 2])
            scores = score_of_rank(place, above, left)
            # As numbers: a GPU would count a mask anew, and wait, for each of these.
            goes_on = ((scores > self.threshold) & (left > 0)).nonzero()[:, 0]
            going, state, scores, numbers, shares, missing, harder, above, left = (
                one[goes_on]
                for one in (going, state, scores, numbers, shares, missing, harder, above, left)
            )
            partners = harder[:, : self.most_partners]
            exists = partners.new_ones(partners.shape[:2], dtype=torch.bool)
            before = Before(state, known[going], missing, above, left)
            law = self._place_law(before, scores, partners, exists)
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

    @abstractmethod
    def _score_law(self, before: Before) -> NormalMixture:
        """Law of where the next score lies, see hard_laws.rank_of_score."""

    @abstractmethod
    def _place_law(
        self, before: Before, scores: Tensor, partners: Tensor, exists: Tensor
    ) -> Places:
        """Law of the places of particles with these scores.

        Args:
            before: them.
            scores: (n,).
            partners: (n, m, 3) harder particles of the same events.
            exists: (n, m) which of them there are.
        """

    @abstractmethod
    def _told(self, missing: Tensor) -> list[Tensor]:
        """More that the network is told where sums miss (n, n_sums); each (n, k)."""

    def _begin(self, known: Tensor, totals: Tensor) -> Tensor:
        inputs = torch.cat([known, (totals / _UNIT).asinh(), *self._told(totals)], dim=1)
        return self.begin_out(functional.silu(self.begin_hidden(inputs))).tanh()

    def _hear(self, particles: Tensor, missing: Tensor) -> Tensor:
        told = self._told(missing)
        inputs = torch.cat([features_of(particles), (missing / _UNIT).asinh(), *told], dim=1)
        return functional.silu(self.hear(inputs))

    def lean(self, scores: Tensor, missing: Tensor, lean_from: float) -> Tensor:
        """(n, 2) towards Q, of particles with these scores, where sums still miss (n, n_sums)."""
        per_particle = LEAN_UNIT * missing[:, 2:4] / missing[:, :1].clamp(min=1)
        lean = per_particle * (LEAN_PER_SCORE * (scores - lean_from)).exp()[:, None]
        size = lean.norm(dim=1, keepdim=True).clamp(min=1e-6)
        return lean * (size.asinh() / size)

    def _mixture(
        self,
        said: Tensor,
        leaning: Tensor,
        partners: Tensor,
        exists: Tensor,
        free: Tensor | None = None,
        window: tuple[Tensor, Tensor] | None = None,
    ) -> Places:
        """Parts around harder particles, free ones, and cells.

        Args:
            said: (n, width) of the particles whose places are asked for.
            leaning: (n, 1 + 2 * CELL_HARMONICS) waves of all cells, see leaning_to.
            partners: (n, m, 3) harder particles of the same events.
            exists: (n, m) which of them there are.
            free: (n, k, 5) of other parts: logit, eta, logarithm of its width, phi, that of phi.
            window: of the score of eta, see Places.
        """
        row, which = exists.nonzero().unbind(1)
        pair = self.here(said)[row] + self.there(features_of(partners[row, which]))
        pair = functional.silu(self.partner_hidden(functional.silu(pair)))
        told = self.partner_out(pair).unflatten(1, (N_NEAR, 3))
        of_partners = told.new_zeros(*exists.shape, N_NEAR, 3)
        of_partners = of_partners.index_put((row, which), told)
        near_logit = of_partners[..., 0].masked_fill(~exists[..., None], -math.inf)
        eta, phi = (partners[..., k].repeat_interleave(N_NEAR, dim=1) for k in (1, 2))
        parts = [near_logit, eta, of_partners[..., 1], phi, of_partners[..., 2]]
        parts = [part.flatten(1) for part in parts]
        if free is not None:
            parts = [
                torch.cat([part, more], dim=1)
                for part, more in zip(parts, free.unbind(2), strict=True)
            ]
        near_logit, eta, log_eta_width, phi, log_phi_width = parts
        cell_logit = self._cells(said, leaning, self.bend_out(pair), partners[row, which], row)
        return Places(
            torch.cat([near_logit, cell_logit.flatten(1)], dim=1).log_softmax(1),
            eta,
            log_eta_width.clamp(*self.log_widths),
            phi,
            log_phi_width.clamp(*self.log_phi_widths),
            self.log_cell_widths.clamp(*LOG_CELL_WIDTHS),
            window,
            TURNS if self.log_phi_widths[1] > math.log(ONE_TURN) else 1,
        )

    def leaning_to(self, lean: Tensor) -> Tensor:
        """(n, 1 + 2 * CELL_HARMONICS) waves of cells that lean (n, 2) towards Q."""
        return functional.pad(self.leaning * lean, (3, 2 * CELL_HARMONICS - 4))

    def _cells(
        self, said: Tensor, leaning: Tensor, bends: Tensor, partners: Tensor, row: Tensor
    ) -> Tensor:
        """(n, cells of eta, cells of phi) logarithms of shares.

        Args:
            said: (n, width) of the particles whose places are asked for.
            leaning: (n, 1 + 2 * CELL_HARMONICS) waves of all of their cells.
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


def features_of(particles: Tensor) -> Tensor:
    """(n, 3) scores and phi to (n, N_FEATURES)."""
    order = torch.arange(1, N_HARMONICS + 1, device=particles.device)
    waves = particles[:, 2:] * order
    return torch.cat([particles[:, :2], waves.cos(), waves.sin()], dim=1)
