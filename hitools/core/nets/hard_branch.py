"""Hard particles of an event, one after the other from the hardest down, by their likelihood.

A jet's core is narrow and rare: the squared error of a velocity hardly notices it, a likelihood
does. So the few hard particles are drawn before the others, each given those before it:

    p(hard particles) = product over i of p(score_i | before) p(eta_i, phi_i | score_i, before)

Of particles that know nothing of each other the law of the next hardest is known: all of those
left are below s with probability (Phi(s) / Phi(score before))^left, Phi the normal law. The network
says a mixture of normal laws of the score of that probability, standard normal to begin with; the
list ends where the next particle would be below the threshold. Places follow a mixture of broad
parts, of narrow ones around each of the harder particles, and of one opposite to each of these in
phi. A recurrent network says all of these mixtures; it is told what the event's sums still miss.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hitools.core.nets.layers import Dense

N_HARMONICS: Final = 4
N_FEATURES: Final = 2 + 2 * N_HARMONICS
N_SCORE_PARTS: Final = 6
N_BROAD: Final = 8

NEAR_WIDTHS: Final = (0.03, 0.08, 0.2, 0.4)
"""In phi, to begin with, of the parts around a harder particle."""

N_PARTNER: Final = len(NEAR_WIDTHS) + 1
"""Parts that belong to a harder particle: near it, and opposite to it."""

SCORE_PER_ETA: Final = 0.5
"""Of eta in the middle of |eta| < 2.5: widths in its score, relative to those in phi."""

MOST_PARTNERS: Final = 24
"""Only so many of the hardest have parts: all pairs of a large event would be too many."""

TURNS: Final = 2
"""Of a normal law around the circle, to either side."""

HIGHEST: Final = 8.0
"""Score that no particle reaches."""

N_NOISE: Final = 5
"""Normal numbers that a particle is drawn from."""

_UNIT: Final = 4.0
"""Of what sums miss, where it is bent."""

_LOG_WIDTHS: Final = (math.log(0.005), math.log(3.0))
_LOG_SAME: Final = -1e-6
"""Share at least between two scores: float32 may not tell them apart."""

_FARTHEST: Final = 30.0
_LOG_ROOT: Final = math.log(2 * math.pi) / 2


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
        self.place_hidden = Dense(width + 1, width)
        self.broad_out = Dense(width, 6 * N_BROAD)
        self.here = Dense(width, width)
        self.there = Dense(N_FEATURES, width)
        self.partner_hidden = Dense(width, width)
        self.partner_out = Dense(width, 4 * N_PARTNER)
        for layer in (self.score_out, self.broad_out, self.partner_out):
            layer.weight.data.mul_(0.1)
        with torch.no_grad():
            broad = self.broad_out.bias.view(N_BROAD, 6)
            turns = torch.arange(N_BROAD) * (2 * math.pi / N_BROAD)
            broad[:, 3], broad[:, 4], broad[:, 5] = turns.cos(), turns.sin(), 1.0
            parts = self.partner_out.bias.view(N_PARTNER, 4)
            widths = torch.tensor([*NEAR_WIDTHS, 0.5])
            parts[:, 0] = -3.0
            parts[:, 2] = (SCORE_PER_ETA * widths).log()
            parts[:, 3] = widths.log()

    def log_likelihood(
        self,
        particles: Tensor,
        counts: Tensor,
        n_particles: Tensor,
        known: Tensor,
        totals: Tensor,
        added: Tensor,
    ) -> Tensor:
        """(n_events,) logarithm of the density of the hard particles of each event.

        Args:
            particles: (n_hard, 3) scores of pT and eta, and phi from psi_2; hardest_first.
            counts: (n_events,) how many each event has.
            n_particles: (n_events,) particles in all.
            known: (n_events, n_known).
            totals: (n_events, n_sums) what all particles of an event add up to.
            added: (n_hard, n_sums) what each hard one adds.
        """
        lists = _Lists.of(counts)
        event, rank = lists.event, lists.rank
        missing = (totals[event] - lists.running_sums(added)).to(totals.dtype)
        states = self._states(lists, particles, missing, self._begin(known, totals))
        scores = particles[:, 0]
        lowest = lists.last_of(scores, HIGHEST)
        left = n_particles - counts
        end, _ = _rank(lowest.new_full(lowest.shape, self.threshold), lowest, left)
        law = _Ranks.of(self._ranks(states[counts, torch.arange(len(counts), device=end.device)]))
        total = torch.where(left > 0, law.log_below(end), 0.0)
        said = states[rank, event]
        above = torch.where(rank == 0, HIGHEST, scores.roll(1))
        place, log_slope = _rank(scores, above, n_particles[event] - rank)
        each = _Ranks.of(self._ranks(said)).log_density(place) + log_slope
        partners = lists.rows[event, :MOST_PARTNERS]
        is_harder = torch.arange(partners.shape[1], device=rank.device) < rank[:, None]
        where = self._places(said, scores, particles[partners], is_harder)
        each = each + where.log_density(particles[:, 1], particles[:, 2])
        return total.index_add(0, event, each)

    def _states(
        self, lists: "_Lists", particles: Tensor, missing: Tensor, beginning: Tensor
    ) -> Tensor:
        """(most + 1, n_events, width): of each event, after so many of its particles."""
        states = beginning[None]
        if not len(particles):
            return states
        filled = lists.counts.nonzero()[:, 0]
        heard = self._hear(particles, missing)[lists.rows[filled]]
        lengths = lists.counts[filled].cpu()
        packed = pack_padded_sequence(heard, lengths, batch_first=True, enforce_sorted=False)
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
            (n_hard, 3) particles as log_likelihood takes them, and (n_events,) how many.
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
            place = _Ranks.of(self._ranks(state)).drawn(shares[:, 0], numbers[:, 2])
            scores = _of_rank(place, above, n_particles[going] - rank)
            goes_on = (scores > self.threshold) & (rank < n_particles[going])
            going, state, scores, numbers, shares, missing, harder = (
                one[goes_on] for one in (going, state, scores, numbers, shares, missing, harder)
            )
            partners = harder[:, :MOST_PARTNERS]
            exists = partners.new_ones(partners.shape[:2], dtype=torch.bool)
            law = self._places(state, scores, partners, exists)
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

    def _places(self, state: Tensor, scores: Tensor, partners: Tensor, exists: Tensor) -> "_Places":
        """Law of the places of particles with these scores.

        Args:
            state: (n, width) before them.
            scores: (n,).
            partners: (n, m, 3) harder particles of the same events.
            exists: (n, m) which of them there are.
        """
        said = functional.silu(self.place_hidden(torch.cat([state, scores[:, None]], dim=1)))
        broad = self.broad_out(said).unflatten(1, (N_BROAD, 6))
        logit, eta, log_eta, x, y, log_phi = broad.unbind(2)
        broad_phi = torch.atan2(y, x + 1e-6)
        row, which = exists.nonzero().unbind(1)
        pair = self.here(said)[row] + self.there(_features(partners[row, which]))
        told = self.partner_out(
            functional.silu(self.partner_hidden(functional.silu(pair)))
        ).unflatten(1, (N_PARTNER, 4))
        of_partners = told.new_zeros(*exists.shape, N_PARTNER, 4)
        of_partners = of_partners.index_put((row, which), told)
        partner_logit = of_partners[..., 0].masked_fill(~exists[..., None], -math.inf)
        is_near = torch.arange(N_PARTNER, device=exists.device) < len(NEAR_WIDTHS)
        # Near parts lie around their particle, the other where it says in eta, and opposite.
        centre = torch.where(is_near, partners[..., 1, None], of_partners[..., 1])
        angle = torch.where(is_near, partners[..., 2, None], partners[..., 2, None] + math.pi)

        def joined(of_broad: Tensor, of_others: Tensor) -> Tensor:
            return torch.cat([of_broad, of_others.flatten(1)], dim=1)

        return _Places(
            joined(logit, partner_logit).log_softmax(1),
            joined(eta, centre),
            joined(log_eta, of_partners[..., 2]).clamp(*_LOG_WIDTHS),
            joined(broad_phi, angle),
            joined(log_phi, of_partners[..., 3]).clamp(*_LOG_WIDTHS),
        )


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

    def last_of(self, values: Tensor, otherwise: float) -> Tensor:
        """(n_events,) of the last of each event; otherwise, where it has none."""
        more = torch.cat([values, values.new_full((1,), otherwise)])
        return more[torch.where(self.counts > 0, self.first + self.counts - 1, len(values))]


def _rank(score: Tensor, above: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
    """Where a score lies in the law of the highest of so many independent particles below another.

    Args:
        score: (n,).
        above: (n,) the score before it.
        left: (n,) how many particles are below that.

    Returns:
        (n,) normal score of the probability that all of them are below score, and the logarithm of
        how fast it rises with score.
    """
    score, above = score.double(), above.double()
    log_below = torch.special.log_ndtr(score)
    log_share = (left * (log_below - torch.special.log_ndtr(above))).clamp(max=_LOG_SAME)
    place = _ndtri_of_log(log_share)
    slope_of_place = (place.square() - score.square()) / 2
    log_slope = left.clamp(min=1).log() + log_share - log_below + slope_of_place
    return place.float(), log_slope.float()


def _of_rank(place: Tensor, above: Tensor, left: Tensor) -> Tensor:
    """The score that lies there; the inverse of _rank."""
    log_share = torch.special.log_ndtr(place.double()) / left.clamp(min=1)
    return _ndtri_of_log(log_share + torch.special.log_ndtr(above.double())).to(place.dtype)


def _ndtri_of_log(log_share: Tensor) -> Tensor:
    """Normal score of a probability that is given by its logarithm, near 1 too."""
    upper = -torch.special.ndtri(-torch.expm1(log_share))
    lower = torch.special.ndtri(log_share.exp())
    found = torch.where(log_share > -math.log(2), upper, lower)
    return found.clamp(-_FARTHEST, _FARTHEST)


def _part(log_weight: Tensor, share: Tensor) -> Tensor:
    """(n, 1) which part of (n, k) mixtures (n,) even numbers choose."""
    through = log_weight.exp().cumsum(1)
    return (through < share[:, None] * through[:, -1:]).sum(1, keepdim=True)


@dataclass(frozen=True)
class _Ranks:
    """A mixture of normal laws, each (n, k)."""

    log_weight: Tensor
    mean: Tensor
    log_width: Tensor

    @classmethod
    def of(cls, said: Tensor) -> "_Ranks":
        """(n, 3 k) from the network."""
        logit, mean, log_width = said.float().unflatten(1, (-1, 3)).unbind(2)
        return cls(logit.log_softmax(1), mean, log_width.clamp(*_LOG_WIDTHS))

    def log_below(self, place: Tensor) -> Tensor:
        """(n,) logarithm of the probability to be below (n,) places."""
        z = (place[:, None] - self.mean) * (-self.log_width).exp()
        return (self.log_weight + torch.special.log_ndtr(z)).logsumexp(1)

    def log_density(self, place: Tensor) -> Tensor:
        """(n,) logarithm of the density at (n,) places."""
        z = (place[:, None] - self.mean) * (-self.log_width).exp()
        return (self.log_weight - self.log_width - z.square() / 2).logsumexp(1) - _LOG_ROOT

    def drawn(self, share: Tensor, number: Tensor) -> Tensor:
        """(n,) places from (n,) even numbers and (n,) normal ones."""
        part = _part(self.log_weight, share)
        mean, log_width = (one.gather(1, part)[:, 0] for one in (self.mean, self.log_width))
        return mean + log_width.exp() * number


@dataclass(frozen=True)
class _Places:
    """A mixture of normal laws of the score of eta and, around the circle, of phi; each (n, k)."""

    log_weight: Tensor
    eta: Tensor
    log_eta_width: Tensor
    phi: Tensor
    log_phi_width: Tensor

    def log_density(self, eta: Tensor, phi: Tensor) -> Tensor:
        """(n,) logarithm of the density at (n,) scores of eta and (n,) phi."""
        along = (eta[:, None] - self.eta) * (-self.log_eta_width).exp()
        turn = torch.remainder(phi[:, None] - self.phi + math.pi, 2 * math.pi) - math.pi
        turns = torch.arange(-TURNS, TURNS + 1, device=phi.device) * (2 * math.pi)
        around = (turn[..., None] + turns) * (-self.log_phi_width).exp()[..., None]
        log_around = (-around.square() / 2).logsumexp(2)
        parts = self.log_weight - self.log_eta_width - along.square() / 2 - self.log_phi_width
        return (parts + log_around).logsumexp(1) - 2 * _LOG_ROOT

    def drawn(self, share: Tensor, numbers: Tensor) -> Tensor:
        """(n, 2) score of eta and phi from (n,) even numbers and (n, 2) normal ones."""
        part = _part(self.log_weight, share)
        eta, log_eta_width, phi, log_phi_width = (
            one.gather(1, part)[:, 0]
            for one in (self.eta, self.log_eta_width, self.phi, self.log_phi_width)
        )
        turned = phi + log_phi_width.exp() * numbers[:, 1]
        return torch.stack(
            [
                eta + log_eta_width.exp() * numbers[:, 0],
                torch.remainder(turned + math.pi, 2 * math.pi) - math.pi,
            ],
            dim=1,
        )


def _features(particles: Tensor) -> Tensor:
    """(n, 3) scores and phi to (n, N_FEATURES)."""
    order = torch.arange(1, N_HARMONICS + 1, device=particles.device)
    waves = particles[:, 2:] * order
    return torch.cat([particles[:, :2], waves.cos(), waves.sin()], dim=1)
