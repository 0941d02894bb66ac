"""Networks that denoise what is drawn before particles: an event as a whole, its slices of eta."""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from hitools.core.nets.layers import Dense
from hitools.core.representation.slices import N_SLICES

N_TIME: Final = 8
NORM_EPSILON: Final = 1e-6


def time_features(t: Tensor) -> Tensor:
    """(n,) times, or () for one of all events, to (n or 1, 2 N_TIME) slow waves."""
    angle = t.float().reshape(-1, 1) * torch.arange(1, N_TIME + 1, device=t.device) * (math.pi / 2)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def normed(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Root-mean-square norm per row, then scale and shift of its event, given per row or once."""
    normal = functional.rms_norm(x, x.shape[-1:], eps=NORM_EPSILON)
    return torch.addcmul(shift, normal, scale)


class ScoresBranch(nn.Module):
    """Noised scores of an event and time to their velocity: residual blocks, modulated by time."""

    def __init__(self, n_scores: int, n_known: int, width: int, n_blocks: int) -> None:
        """Scores to denoise, numbers that are known already, and sizes."""
        super().__init__()
        self.time = nn.Sequential(Dense(2 * N_TIME, width), nn.SiLU())
        self.embed = Dense(n_scores + n_known, width)
        self.modulations = nn.ModuleList(Dense(width, 2 * width) for _ in range(n_blocks))
        self.hidden = nn.ModuleList(Dense(width, 2 * width) for _ in range(n_blocks))
        self.back = nn.ModuleList(Dense(2 * width, width) for _ in range(n_blocks))
        self.out = Dense(width, n_scores)
        for layer in [*self.back, *self.modulations, self.out]:
            nn.init.zeros_(layer.weight)

    def forward(self, z: Tensor, t: Tensor, known: Tensor | None = None) -> Tensor:
        """(n_events, n_scores), (n_events,) or (), (n_events, n_known) to the first shape."""
        time = self.time(time_features(t))
        x = self.embed(z if known is None else torch.cat([z, known], dim=1))
        for modulation, hidden, back in zip(self.modulations, self.hidden, self.back, strict=True):
            scale, shift = modulation(time).chunk(2, dim=1)
            x = x + back(functional.silu(hidden(normed(x, 1 + scale, shift))))
        return self.out(functional.rms_norm(x, x.shape[-1:], eps=NORM_EPSILON))


class MixingBlock(nn.Module):
    """Slices tell each other something, then each is worked on by itself."""

    def __init__(self, width: int, n_told: int) -> None:
        """Channels of a slice, and how many numbers it tells the others."""
        super().__init__()
        told = N_SLICES * n_told
        self.modulation = Dense(width, 4 * width)
        self.tell = Dense(width, n_told)
        self.mix = Dense(told, 2 * told)
        self.unmix = Dense(2 * told, told)
        self.hear = Dense(n_told, width)
        self.hidden = Dense(width, 2 * width)
        self.back = Dense(2 * width, width)
        for layer in (self.modulation, self.hear, self.back):
            nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(n_events * N_SLICES, width) and (n_events or 1, width) to the first shape."""
        modulation = self.modulation(time)
        if len(time) > 1:
            modulation = modulation.repeat_interleave(N_SLICES, dim=0)
        scale, shift, scale2, shift2 = modulation.chunk(4, dim=1)
        told = self.tell(normed(x, 1 + scale, shift)).view(len(x) // N_SLICES, -1)
        heard = self.unmix(functional.silu(self.mix(told)))
        x = x + self.hear(heard.view(len(x), -1))
        return x + self.back(functional.silu(self.hidden(normed(x, 1 + scale2, shift2))))


class SlicesBranch(nn.Module):
    """Noised scores of slices to their velocity: a row each, which share their weights.

    What holds inside a slice (how its vectors go together, what a hard particle does to all of
    them) holds in every slice, and is learnt from five times as many examples.
    """

    def __init__(self, n_scores: int, n_known: int, width: int, n_told: int, n_blocks: int) -> None:
        """Scores of all slices, numbers known of the event, and sizes."""
        super().__init__()
        n_here = n_scores // N_SLICES
        self.time = nn.Sequential(Dense(2 * N_TIME, width), nn.SiLU())
        self.embed = Dense(n_here, width)
        self.known = Dense(n_known, N_SLICES * width)
        self.blocks = nn.ModuleList(MixingBlock(width, n_told) for _ in range(n_blocks))
        self.out = Dense(width, n_here)
        nn.init.zeros_(self.out.weight)

    def forward(self, z: Tensor, t: Tensor, known: Tensor) -> Tensor:
        """(n_events, n_scores), (n_events,) or (), (n_events, n_known) to the first shape."""
        time = self.time(time_features(t))
        x = self.embed(z.reshape(len(z) * N_SLICES, -1))
        x = x + self.known(known).view(len(x), -1)
        for block in self.blocks:
            x = block(x, time)
        return self.out(functional.rms_norm(x, x.shape[-1:], eps=NORM_EPSILON)).view_as(z)
