"""The network of the rotary preset: particles that see differences of positions and sums.

Two things are built in that a plain transformer has to find: local correlations (jets, resonances)
depend on differences in (eta, phi), see rotary.py; and the particles of an event add up to what its
event vector says. For the second, the network estimates what every particle will contribute to the
known sums; what is missing is handed back to all particles, a step of linear regression on the sum.
The velocity of independent particles is known (aligned.py), and only what is beyond it is learnt.
"""

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from hitools.core.diffusion.schedule import alpha_sigma
from hitools.core.features import COUNT_COLUMNS
from hitools.core.nets.fields import fields, n_fields
from hitools.core.nets.hard_branch import HardBranch
from hitools.core.nets.layers import Dense
from hitools.core.nets.layout import Layout
from hitools.core.nets.listed_events import ListedEvents, hardest_first
from hitools.core.nets.particle_lists import ListBranch
from hitools.core.nets.regression import Regression
from hitools.core.nets.rotary import RotaryAttention, Turn
from hitools.core.nets.rotary_config import RotaryConfig
from hitools.core.nets.scores import (
    N_TIME,
    NORM_EPSILON,
    ScoresBranch,
    SlicesBranch,
    normed,
    time_features,
)
from hitools.core.nets.vector_branch import Counts, VectorBranch
from hitools.core.nets.whole_branch import WholeBranch
from hitools.core.representation.aligned import CIRCLE, N_LEFT, Aligned, is_hard
from hitools.core.representation.event_scores import condition_of, turn_of, turning_of
from hitools.core.representation.known_sums import N_TURNING, N_WHOLE
from hitools.core.representation.slices import N_SLICES

N_HARMONICS: Final = 4
N_CONDITION: Final = 8
N_EVENT: Final = 9
N_ORIENTED: Final = N_CONDITION + 2
N_PARTICLE: Final = 4
ETA_SPAN: Final = 2.5
LEAST_NOISE: Final = 0.02
MOST_WEIGHT: Final = 5.0

HARD_UNIT: Final = 4.0
"""Of what hard particles add to a sum, where it is bent."""


def outwards(velocity: Tensor, phi: Tensor) -> Tensor:
    """(n_total, 4) with the circle's part along the radius and the tangent, to x and y."""
    along, across = velocity[:, 2], velocity[:, 3]
    cos, sin = phi.cos(), phi.sin()
    x, y = cos * along - sin * across, sin * along + cos * across
    return torch.cat([velocity[:, :2], x[:, None], y[:, None]], dim=1)


class RotaryBlock(nn.Module):
    """Attention and a two-layer network, each scaled, shifted and gated by the condition."""

    def __init__(self, config: RotaryConfig) -> None:
        """Sizes from config."""
        super().__init__()
        width = config.width
        self.modulation = Dense(width, 6 * width)
        self.attention = RotaryAttention(width, config.n_heads, config.head_width)
        self.hidden = Dense(width, 2 * width)
        self.out = Dense(2 * width, width)
        nn.init.zeros_(self.modulation.weight)
        neutral = torch.tensor([1.0, 0.0, 1.0]).repeat(2).repeat_interleave(width)
        self.register_buffer("neutral", neutral, persistent=False)

    def forward(self, x: Tensor, condition: Tensor, turn: Turn, layout: Layout) -> Tensor:
        """(n_total, width), (n_events, width) to (n_total, width)."""
        modulation = self.modulation(condition) + self.neutral
        scale, shift, gate, scale2, shift2, gate2 = map(layout.spread, modulation.chunk(6, dim=1))
        x = torch.addcmul(x, gate, self.attention(normed(x, scale, shift), turn, layout))
        update = self.out(
            functional.gelu(self.hidden(normed(x, scale2, shift2)), approximate="tanh")
        )
        return torch.addcmul(x, gate2, update)


class Shortfall(nn.Module):
    """What an event's known sums still miss, by an estimate of every particle's contribution."""

    def __init__(self, width: int, n_sums: int) -> None:
        """Width of particles, and number of sums."""
        super().__init__()
        self.estimate = Dense(width, n_sums)
        nn.init.zeros_(self.estimate.weight)

    def forward(
        self, x: Tensor, soft: Tensor, expected: Tensor, totals: Tensor, layout: Layout
    ) -> tuple[Tensor, Tensor]:
        """Shortfall (n_events, n_sums), and the estimates (n_total, n_sums).

        Args:
            x: (n_total, width) particles inside the network.
            soft: (n_total, 1) 0 for those whose contributions are known, 1 for the others.
            expected: (n_total, n_sums) contributions of independent particles.
            totals: (n_events, n_sums) the sums wanted.
            layout: which particles form an event.
        """
        normal = functional.rms_norm(x, x.shape[-1:], eps=NORM_EPSILON)
        estimate = expected + soft * self.estimate(normal).float()
        sums = torch.zeros_like(totals).index_add(0, layout.event_of_particle, estimate)
        return totals - sums, estimate


class RotaryNet(nn.Module):
    """Velocity v = alpha eps - sigma z0 of events, and of particles given their event."""

    n_event_features = N_EVENT

    def __init__(self, config: RotaryConfig, representation: Aligned) -> None:
        """Random weights, except where a network begins by doing nothing."""
        super().__init__()
        self.config = config
        self.representation = representation
        width = config.width
        n_coarse = representation.n_coarse_features
        known = representation.known
        n_expected = known.n_pt - 1 + N_SLICES + 1 + known.n_phi - 1
        self.n_fields = n_fields(config.n_densities)
        n_inputs = 3 + 2 * N_HARMONICS + 6 + 3 + n_expected + self.n_fields
        self.hard: HardBranch | None = None
        if representation.hard_from is not None:
            n_inputs += 1
            self.hard = HardBranch(N_ORIENTED, N_WHOLE, config.hard_width, representation.hard_from)
        self.whole: WholeBranch | None = None
        if representation.whole_below:
            self.whole = WholeBranch(representation, N_CONDITION - 1, N_TURNING, config.whole_width)
        self.event: ScoresBranch | VectorBranch
        if config.vector_parts:
            vector = representation.vector
            counts = {
                name: Counts(vector.events[name], *vector.limits[name]) for name in COUNT_COLUMNS
            }
            self.event = VectorBranch(config.event_width, config.vector_parts, counts)
        else:
            self.event = ScoresBranch(N_EVENT, 0, config.event_width, config.n_event_blocks)
        n_known = N_ORIENTED
        if self.hard is not None:
            n_known += representation.n_hard_sums + N_LEFT
        self.slices = _slices_branch(config, n_coarse, n_known)
        self.condition_hidden = Dense(N_CONDITION + n_coarse + 2 * N_TIME, 2 * width)
        self.condition_out = Dense(2 * width, width)
        self.embed_hidden = Dense(n_inputs, 2 * width)
        self.embed_out = Dense(2 * width, width)
        self.blocks = nn.ModuleList(RotaryBlock(config) for _ in range(config.n_blocks))
        n_feedbacks = config.n_feedbacks + 1 if config.n_feedbacks else 0
        self.shortfalls = nn.ModuleList(Shortfall(width, len(known)) for _ in range(n_feedbacks))
        self.feedbacks = nn.ModuleList(Dense(N_PARTICLE, width) for _ in range(config.n_feedbacks))
        self.norm = Dense(width, 2 * width)
        self.gain = Dense(width, N_PARTICLE)
        self.pull = Dense(width, self.n_fields * N_PARTICLE)
        self.out = Dense(width, N_PARTICLE)
        for layer in (self.out, self.norm, self.gain, self.pull):
            nn.init.zeros_(layer.weight)

    def event_velocity(self, z: Tensor, t: Tensor) -> Tensor:
        """(n_events, 9) noised event scores and (n_events,) or () times to (n_events, 9)."""
        assert self.vector_law is None
        velocity: Tensor = self.event(z, t)
        return velocity

    @property
    def vector_law(self) -> VectorBranch | None:
        """What draws event vectors by their likelihood; None where they are denoised."""
        return self.event if isinstance(self.event, VectorBranch) else None

    def known_of_slices(self, events: Tensor, n_particles: Tensor, of_hard: Tensor) -> Tensor:
        """(n_events, k) what slices are drawn given.

        Args:
            events: (n_events, features) scores of event vectors.
            n_particles: (n_events,).
            of_hard: (n_events, n_sums) what hard particles add to the sums.
        """
        known = [self._oriented(events)]
        if self.hard is not None:
            left = self.representation.left_to_others(events, n_particles, of_hard)
            known += [(of_hard / HARD_UNIT).asinh(), left]
        return torch.cat(known, dim=1)

    def coarse_velocity(self, coarse: Tensor, t: Tensor, known: Tensor) -> Tensor:
        """(n_events, n_coarse) noised scores of slices to their velocity, given known_of_slices."""
        return self.slices(coarse, t, known)

    def _oriented(self, events: Tensor) -> Tensor:
        """(n_events, N_ORIENTED): event scores, and how events are turned."""
        psi = turn_of(events)
        turn = torch.stack([psi.cos(), psi.sin()], dim=1)
        return torch.cat([condition_of(events), turn], dim=1)

    def hard_log_likelihood(self, x: Tensor, events: Tensor, layout: Layout) -> Tensor:
        """(n_events,) logarithm of the density of the hard ones of (n_total, 5) particles.

        0 of events that are drawn as a whole.
        """
        assert self.hard is not None
        return self._log_likelihood(self.hard, self.hard_events(x, events, layout), layout)

    def whole_log_likelihood(self, x: Tensor, events: Tensor, layout: Layout) -> Tensor:
        """(n_events,) the same of all particles of events drawn as a whole; 0 of the others."""
        assert self.whole is not None
        listed = self.whole_events(x, events, layout)
        return self._log_likelihood(self.whole, listed, layout)

    def hard_events(self, x: Tensor, events: Tensor, layout: Layout) -> tuple[Tensor, ListedEvents]:
        """The events that are not drawn as a whole, and the hard ones of their particles.

        Args:
            x: (n_total, 5) particles.
            events: (n_events, N_EVENT) scores of event vectors.
            layout: which rows form an event.
        """
        assert self.hard is not None
        some = ~self.representation.is_whole(layout.n_particles)
        return self._listed_events(self.hard, x, events, layout, some)

    def whole_events(
        self, x: Tensor, events: Tensor, layout: Layout
    ) -> tuple[Tensor, ListedEvents]:
        """The events that are, and all of their particles; likewise."""
        assert self.whole is not None
        some = self.representation.is_whole(layout.n_particles)
        return self._listed_events(self.whole, x, events, layout, some)

    @staticmethod
    def _log_likelihood(
        branch: ListBranch, listed: tuple[Tensor, ListedEvents], layout: Layout
    ) -> Tensor:
        index, events = listed
        found = events.known.new_zeros(len(layout.n_particles))
        return found.index_copy(0, index, branch.log_likelihood(events))

    def _listed_events(
        self,
        branch: ListBranch,
        x: Tensor,
        events: Tensor,
        layout: Layout,
        some: Tensor,
    ) -> tuple[Tensor, ListedEvents]:
        """Numbers of the (n_events,) events that some tells, and their listed particles."""
        index = some.nonzero()[:, 0]
        wanted = is_hard(x) & some[layout.event_of_particle]
        rows = hardest_first(x[:, 0], wanted, layout.event_of_particle)
        event, x = layout.event_of_particle[rows], x[rows]
        phi = torch.atan2(x[:, 3], x[:, 2])
        turn = turn_of(events)
        n_particles = layout.n_particles[index]
        known, totals = self._told(branch, events[index], n_particles)
        return index, ListedEvents(
            particles=torch.stack([x[:, 0], x[:, 1], phi], dim=1),
            counts=torch.bincount(event, minlength=len(events))[index],
            n_particles=n_particles,
            known=known,
            totals=totals,
            added=self._added(branch, x, turn[event]),
        )

    def _told(
        self, branch: ListBranch, events: Tensor, n_particles: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What a branch is told of events, (n_events, n_known), and their sums, (n_events, n_sums).

        Small events know no direction of the laboratory.
        """
        if branch is self.whole:
            totals = self.representation.turning_totals(events, n_particles)
            return turning_of(events), totals
        return self._oriented(events), self.representation.whole_totals(events, n_particles)

    def _added(self, branch: ListBranch, x: Tensor, turn: Tensor) -> Tensor:
        """(n, n_sums) what each of (n, 5) particles adds to the sums that a branch is told."""
        known = self.representation.known
        added = self.representation.contributions(x, turn)
        return known.of_turning(added) if branch is self.whole else known.of_whole(added)

    def draw_hard(
        self, events: Tensor, n_particles: Tensor, noise: Callable[[Tensor, int], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Hard particles (n_hard, 5) of events given their scores, and how many each has.

        All particles of events that are drawn as a whole.

        Args:
            events: (n_events, N_EVENT) scores of event vectors.
            n_particles: (n_events,).
            noise: of the events of these numbers, for the particle of this rank: normal numbers,
                (n, N_NOISE).
        """
        whole = self.representation.is_whole(n_particles)
        drawn, event = [events.new_zeros(0, N_PARTICLE + 1)], [n_particles[:0]]
        for branch, some in ((self.hard, ~whole), (self.whole, whole)):
            index = some.nonzero()[:, 0]
            if branch is not None and len(index):
                particles, counts = self._drawn_by(branch, index, events, n_particles, noise)
                drawn.append(particles)
                event.append(torch.repeat_interleave(index, counts, output_size=len(particles)))
        of_event = torch.cat(event)
        particles = torch.cat(drawn)[of_event.argsort(stable=True)]
        return particles, torch.bincount(of_event, minlength=len(events))

    def _drawn_by(
        self,
        branch: ListBranch,
        index: Tensor,
        events: Tensor,
        n_particles: Tensor,
        noise: Callable[[Tensor, int], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Of the events of these numbers; see draw_hard."""
        turn = turn_of(events)[index]
        known, totals = self._told(branch, events[index], n_particles[index])

        def in_model_space(particles: Tensor) -> Tensor:
            score, eta, phi = particles.unbind(1)
            columns = [score, eta, CIRCLE * phi.cos(), CIRCLE * phi.sin(), torch.ones_like(phi)]
            return torch.stack(columns, dim=1)

        particles, counts = branch.draw(
            known,
            totals,
            n_particles[index],
            lambda some, rank: noise(index[some], rank),
            lambda some, event: self._added(branch, in_model_space(some), turn[event]),
        )
        return in_model_space(particles), counts

    def particle_velocity(self, x: Tensor, t: Tensor, events: Tensor, offsets: Tensor) -> Tensor:
        """Velocity of noised particles; see Denoiser.particle_velocity."""
        return self.particle_outputs(x, t, events, offsets)[0]

    def particle_outputs(
        self, x: Tensor, t: Tensor, events: Tensor, offsets: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Velocity (n_total, 4), and estimates of the contributions, each (n_total, n_sums)."""
        layout = Layout.from_offsets(offsets, x.device)
        alpha, sigma = alpha_sigma(t[:, None] if t.dim() else t)
        spread = layout.spread_times(alpha), layout.spread_times(sigma)
        hard = is_hard(x)
        soft = (~hard[:, None]).to(x.dtype)
        psi = layout.spread(turn_of(events))
        regression = Regression(self.representation, x, psi, alpha, sigma, layout)
        of_hard = self.representation.hard_sums(x, events, layout.event_of_particle)
        totals = self.representation.totals(events, layout.n_particles, of_hard)
        # Positions: of the noised particle, which is a normal number in eta at any time.
        phi = torch.atan2(x[:, 3], x[:, 2])
        eta = ETA_SPAN * torch.erf(x[:, 1] / math.sqrt(2))
        turn = Turn(eta, phi, self.config.head_width // 2)

        time = time_features(t).expand(len(events), -1)
        known = [condition_of(events), events[:, N_EVENT:], time]
        condition = self.condition_out(
            functional.silu(self.condition_hidden(torch.cat(known, dim=1)))
        )
        active = functional.silu(condition)
        pt = regression.pt.mean[:, 1:]
        expected_pt = pt[:, 0].clamp(max=MOST_WEIGHT)
        known_hard = None if self.hard is None else hard
        around = fields(eta, phi, expected_pt, self.config.n_densities, layout, known_hard)
        expected = [pt.asinh(), regression.eta.mean[:, :-1], regression.phi.mean[:, 1:]]
        h = self._embed(x, phi, eta, psi, torch.cat([*expected, around, x[:, N_PARTICLE:]], dim=1))

        estimates: list[Tensor] = []

        def towards_the_sums(place: int) -> Tensor:
            """Velocity that particles lack where their events miss something of the sums."""
            missing, estimate = self.shortfalls[place](h, soft, regression.expected, totals, layout)
            estimates.append(estimate)
            with torch.autocast(x.device.type, enabled=False):
                return regression.shift(missing) / -(spread[1] + LEAST_NOISE)

        for i, block in enumerate(self.blocks):
            if i in self.config.feedback_blocks:
                place = len(estimates)
                h = h + self.feedbacks[place](torch.asinh(towards_the_sums(place)))
            h = block(h, active, turn, layout)
        scale, shift = self.norm(active).chunk(2, dim=1)
        normal = normed(h, layout.spread(1 + scale), layout.spread(shift))
        # On what lies around: the first order of what particles do to each other.
        pull = self.pull(normal).float().view(len(x), self.n_fields, N_PARTICLE)
        with torch.autocast(x.device.type, enabled=False):
            learnt = torch.einsum("nkf,nk->nf", pull, around)
        learnt = learnt + self.out(normal).float()
        if self.shortfalls:
            gain = 1 + self.gain(normal).float()
            learnt = learnt + gain * towards_the_sums(len(estimates))
        independent = self.representation.independent_velocity(x, *spread)
        return independent + outwards(learnt, phi), estimates

    def event_branch(self) -> list[nn.Module]:
        """What draws event vectors, slices, hard particles, whole events.

        It shares no weights with the rest.
        """
        return [self.event, self.slices, *self.hard_branch(), *self.whole_branch()]

    def hard_branch(self) -> list[nn.Module]:
        """The part of it that draws hard particles, where there is one."""
        return [] if self.hard is None else [self.hard]

    def whole_branch(self) -> list[nn.Module]:
        """The part of it that draws all particles of small events, where there is one."""
        return [] if self.whole is None else [self.whole]

    def compiled_parts(self) -> list[nn.Module]:
        """What torch.compile works on, where it is asked for."""
        vectors = [self.event] if self.vector_law is None else []
        return [*vectors, self.slices, *self.blocks]

    def _embed(self, x: Tensor, phi: Tensor, eta: Tensor, psi: Tensor, more: Tensor) -> Tensor:
        """Noised particles and what follows from them to (n_total, width)."""
        order = torch.arange(1, N_HARMONICS + 1, device=x.device)
        waves = phi[:, None] * order
        along = eta[:, None] * (torch.arange(1, 4, device=x.device) * (math.pi / 5))
        # In the laboratory, where mean_phi is an average and phi has its seam.
        laboratory = phi + psi
        seam = torch.remainder(laboratory + math.pi, 2 * math.pi) / math.pi - 1
        inputs = torch.cat(
            [
                x[:, :2],
                x[:, 2:4].norm(dim=1, keepdim=True),
                waves.cos(),
                waves.sin(),
                along.cos(),
                along.sin(),
                torch.stack([seam, laboratory.cos(), laboratory.sin()], dim=1),
                more,
            ],
            dim=1,
        )
        return self.embed_out(functional.gelu(self.embed_hidden(inputs), approximate="tanh"))


def _slices_branch(
    config: RotaryConfig, n_scores: int, n_known: int
) -> ScoresBranch | SlicesBranch:
    width, n_blocks = config.slice_width, config.n_event_blocks
    if not config.slice_told:
        return ScoresBranch(n_scores, n_known, width, n_blocks)
    return SlicesBranch(n_scores, n_known, width, config.slice_told, n_blocks)
