"""The network of the rotary preset: particles that see differences of positions and sums.

Two things are built in that a plain transformer has to find: local correlations (jets, resonances)
depend on differences in (eta, phi), see rotary.py; and the particles of an event add up to what its
event vector says. For the second, the network estimates what every particle will contribute to the
known sums; what is missing is handed back to all particles, a step of linear regression on the sum.
The velocity of independent particles is known (aligned.py), and only what is beyond it is learnt.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from hitools.core.aligned import SUMS, Aligned
from hitools.core.diffusion.schedule import alpha_sigma
from hitools.core.nets.fields import N_FIELDS, fields
from hitools.core.nets.layers import Dense
from hitools.core.nets.layout import Layout
from hitools.core.nets.rotary import RotaryAttention, Turn
from hitools.core.nets.rotary_config import RotaryConfig

N_TIME: Final = 8
N_HARMONICS: Final = 4
N_CONDITION: Final = 8
N_EVENT: Final = 9
N_PARTICLE: Final = 4
ETA_SPAN: Final = 2.5
LEAST_NOISE: Final = 0.02
MOST_WEIGHT: Final = 5.0
NORM_EPSILON: Final = 1e-6


def time_features(t: Tensor) -> Tensor:
    """(n,) times to (n, 2 N_TIME) slow waves."""
    angle = t.float()[:, None] * torch.arange(1, N_TIME + 1, device=t.device) * (math.pi / 2)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def normed(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Root-mean-square norm per row, then scale and shift of its event, given per particle."""
    return functional.rms_norm(x, x.shape[-1:], eps=NORM_EPSILON) * (1 + scale) + shift


def outwards(velocity: Tensor, phi: Tensor) -> Tensor:
    """(n_total, 4) with the circle's part along the radius and the tangent, to x and y."""
    along, across = velocity[:, 2], velocity[:, 3]
    cos, sin = phi.cos(), phi.sin()
    x, y = cos * along - sin * across, sin * along + cos * across
    return torch.cat([velocity[:, :2], x[:, None], y[:, None]], dim=1)


class EventBranch(nn.Module):
    """Noised event scores and time to their velocity: residual blocks, modulated by time."""

    def __init__(self, width: int, n_blocks: int) -> None:
        """Sizes."""
        super().__init__()
        self.time = nn.Sequential(Dense(2 * N_TIME, width), nn.SiLU())
        self.embed = Dense(N_EVENT, width)
        self.modulations = nn.ModuleList(Dense(width, 2 * width) for _ in range(n_blocks))
        self.hidden = nn.ModuleList(Dense(width, 2 * width) for _ in range(n_blocks))
        self.back = nn.ModuleList(Dense(2 * width, width) for _ in range(n_blocks))
        self.out = Dense(width, N_EVENT)
        for layer in [*self.back, *self.modulations, self.out]:
            nn.init.zeros_(layer.weight)

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        """(n_events, 9), (n_events,) to (n_events, 9)."""
        time = self.time(time_features(t))
        x = self.embed(z)
        for modulation, hidden, back in zip(self.modulations, self.hidden, self.back, strict=True):
            scale, shift = modulation(time).chunk(2, dim=1)
            x = x + back(functional.silu(hidden(normed(x, scale, shift))))
        return self.out(functional.rms_norm(x, x.shape[-1:], eps=NORM_EPSILON))


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

    def forward(self, x: Tensor, condition: Tensor, turn: Turn, layout: Layout) -> Tensor:
        """(n_total, width), (n_events, width) to (n_total, width)."""
        modulation = layout.spread(self.modulation(condition))
        scale, shift, gate, scale2, shift2, gate2 = modulation.chunk(6, dim=1)
        x = x + (1 + gate) * self.attention(normed(x, scale, shift), turn, layout)
        update = self.out(
            functional.gelu(self.hidden(normed(x, scale2, shift2)), approximate="tanh")
        )
        return x + (1 + gate2) * update


class Shortfall(nn.Module):
    """What an event's known sums still miss, by an estimate of every particle's contribution."""

    def __init__(self, width: int) -> None:
        """Width of particles and condition."""
        super().__init__()
        n = len(SUMS)
        self.trust = Dense(width, n)
        self.estimate = Dense(width, n)
        nn.init.zeros_(self.estimate.weight)
        nn.init.zeros_(self.trust.weight)

    def forward(
        self, x: Tensor, plain: Tensor, condition: Tensor, totals: Tensor, layout: Layout
    ) -> tuple[Tensor, Tensor]:
        """Shortfall (n_events, 5), and the estimates (n_total, 5).

        Args:
            x: (n_total, width) particles inside the network.
            plain: (n_total, 5) contributions of the noised particles as they are.
            condition: (n_events, width).
            totals: (n_events, 5) the sums wanted.
            layout: which particles form an event.
        """
        normal = functional.rms_norm(x, x.shape[-1:], eps=NORM_EPSILON)
        trust = layout.spread(torch.sigmoid(self.trust(condition)))
        estimate = trust * plain + self.estimate(normal).float()
        sums = torch.zeros_like(totals).index_add(0, layout.event_of_particle, estimate)
        return totals - sums, estimate


class RotaryNet(nn.Module):
    """Velocity v = alpha eps - sigma z0 of events, and of particles given their event."""

    def __init__(self, config: RotaryConfig, representation: Aligned) -> None:
        """Random weights, except where a network begins by doing nothing."""
        super().__init__()
        self.config = config
        self.representation = representation
        width = config.width
        n_inputs = 3 + 2 * N_HARMONICS + 6 + 3 + len(SUMS) + N_FIELDS
        self.event = EventBranch(config.event_width, config.n_event_blocks)
        self.condition_hidden = Dense(N_CONDITION + 2 * N_TIME, 2 * width)
        self.condition_out = Dense(2 * width, width)
        self.embed_hidden = Dense(n_inputs, 2 * width)
        self.embed_out = Dense(2 * width, width)
        self.blocks = nn.ModuleList(RotaryBlock(config) for _ in range(config.n_blocks))
        n_feedbacks = config.n_feedbacks + 1 if config.n_feedbacks else 0
        self.shortfalls = nn.ModuleList(Shortfall(width) for _ in range(n_feedbacks))
        self.feedbacks = nn.ModuleList(Dense(2 * len(SUMS), width) for _ in range(n_feedbacks))
        self.norm = Dense(width, 2 * width)
        self.response = Dense(width, len(SUMS) * N_PARTICLE)
        self.pull = Dense(width, N_FIELDS * N_PARTICLE)
        self.out = Dense(width, N_PARTICLE)
        for layer in (self.out, self.norm, self.response, self.pull):
            nn.init.zeros_(layer.weight)

    def event_velocity(self, z: Tensor, t: Tensor) -> Tensor:
        """(n_events, 9) noised event scores and (n_events,) times to (n_events, 9)."""
        return self.event(z, t)

    def particle_velocity(self, x: Tensor, t: Tensor, events: Tensor, offsets: Tensor) -> Tensor:
        """Velocity of noised particles; see Denoiser.particle_velocity."""
        return self.particle_outputs(x, t, events, offsets)[0]

    def particle_outputs(
        self, x: Tensor, t: Tensor, events: Tensor, offsets: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Velocity (n_total, 4), and every estimate of the contributions, each (n_total, 5)."""
        layout = Layout.from_offsets(offsets, x.device)
        alpha, sigma = alpha_sigma(t[:, None])
        totals = self.representation.totals(events, layout.n_particles)
        psi = layout.spread(self.representation.turn_of(events))
        plain = self.representation.contributions(x * layout.spread(alpha), psi)
        # Positions: of the noised particle, which is a normal number in eta at any time.
        phi = torch.atan2(x[:, 3], x[:, 2])
        eta = ETA_SPAN * torch.erf(x[:, 1] / math.sqrt(2))
        turn = Turn(eta, phi, self.config.head_width // 2)

        known = torch.cat([self.representation.condition(events), time_features(t)], dim=1)
        condition = self.condition_out(functional.silu(self.condition_hidden(known)))
        around = fields(eta, phi, plain[:, SUMS.index("pt")].clamp(max=MOST_WEIGHT), layout)
        h = self._embed(x, phi, eta, psi, torch.cat([plain, around], dim=1))

        root = layout.n_particles.clamp(min=1).to(x.dtype).sqrt()[:, None]
        estimates: list[Tensor] = []

        def missing(place: int) -> Tensor:
            shortfall, estimate = self.shortfalls[place](h, plain, condition, totals, layout)
            estimates.append(estimate)
            # In units of what the noise leaves open.
            return shortfall / (root * (sigma + LEAST_NOISE))

        for i, block in enumerate(self.blocks):
            if i in self.config.feedback_blocks:
                place = len(estimates)
                condition = condition + self._feedback(place, missing(place), root)
            h = block(h, functional.silu(condition), turn, layout)
        gap = torch.zeros_like(totals)
        if self.shortfalls:
            gap = missing(len(estimates))
            condition = condition + self._feedback(-1, gap, root)
        scale, shift = layout.spread(self.norm(functional.silu(condition))).chunk(2, dim=1)
        h = normed(h, scale, shift)
        # Regression on the sum: every particle moves by its own share of what is missing; and on
        # what lies around: the first order of what particles do to each other.
        response = self.response(h).float().view(len(x), len(SUMS), N_PARTICLE)
        pull = self.pull(h).float().view(len(x), N_FIELDS, N_PARTICLE)
        with torch.autocast(x.device.type, enabled=False):
            share = torch.einsum("nkf,nk->nf", response, layout.spread(gap / root))
            share = share + torch.einsum("nkf,nk->nf", pull, around)
        learnt = outwards(self.out(h).float() + share, phi)
        spread = layout.spread(alpha), layout.spread(sigma)
        return self.representation.independent_velocity(x, *spread) + learnt, estimates

    def compiled_parts(self) -> list[nn.Module]:
        """What torch.compile works on, where it is asked for."""
        return [self.event, *self.blocks]

    def _feedback(self, place: int, gap: Tensor, root: Tensor) -> Tensor:
        bounded = 10 * torch.tanh(gap / 10)
        return self.feedbacks[place](torch.cat([bounded, 10 * bounded / root], dim=1))

    def _embed(self, x: Tensor, phi: Tensor, eta: Tensor, psi: Tensor, more: Tensor) -> Tensor:
        """Noised particles, (n_total, 4) and what follows from them, to (n_total, width)."""
        order = torch.arange(1, N_HARMONICS + 1, device=x.device)
        waves = phi[:, None] * order
        along = eta[:, None] * (torch.arange(1, 4, device=x.device) * (math.pi / 5))
        # In the laboratory, where mean_phi is an average and phi has its seam.
        laboratory = phi + psi
        seam = torch.remainder(laboratory + math.pi, 2 * math.pi) / math.pi - 1
        inputs = torch.cat(
            [
                x[:, :2],
                x[:, 2:].norm(dim=1, keepdim=True),
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
