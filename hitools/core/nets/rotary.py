"""Attention that sees differences of positions: rotary embedding in (eta, phi), on both sides.

Queries and keys are turned by angles proportional to a particle's position (Su et al.,
2104.09864), so that their product depends on differences alone: a head can look at what is near,
across the seam of phi too. Values are turned as well and the result turned back, so that what a
head collects is seen from where the particle stands.
"""

import math

import torch
from torch import Tensor, nn

from hitools.core.nets import attention
from hitools.core.nets.layers import Dense
from hitools.core.nets.layout import Layout

PHI_FREQUENCIES = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Whole numbers, so that phi may wrap."""

ETA_FREQUENCIES = tuple(math.pi / 5 * k for k in (1.0, 2.0, 3.0, 4.0, 6.0, 9.0))
"""Per unit of eta: waves of 10 units down to one."""

N_TURNED = len(PHI_FREQUENCIES) + len(ETA_FREQUENCIES)


FIRST_FOCUS = 1.4
"""Of the first head; the nearest particles weigh e^4 times the farthest to begin with."""


class Turn:
    """The rotation of each particle, made once per pass and used in every block."""

    def __init__(self, eta: Tensor, phi: Tensor, n_pairs: int) -> None:
        """Positions (n_total,); n_pairs of channels per head, those beyond N_TURNED stay."""
        angle = torch.cat(
            [
                phi[:, None] * phi.new_tensor(PHI_FREQUENCIES),
                eta[:, None] * eta.new_tensor(ETA_FREQUENCIES),
                phi.new_zeros(len(phi), n_pairs - N_TURNED),
            ],
            dim=1,
        )
        self.cos, self.sin = angle.cos(), angle.sin()

    def __call__(self, x: Tensor, *, back: bool = False) -> Tensor:
        """(n_total, ..., 2 n_pairs) turned by each particle's angles, or back."""
        shape = (len(x), *[1] * (x.dim() - 2), self.cos.shape[1])
        cos, sin = self.cos.view(shape), self.sin.view(shape)
        if back:
            sin = -sin
        first, second = x.chunk(2, dim=-1)
        return torch.cat(
            [
                torch.addcmul(first * cos, second, sin, value=-1),
                torch.addcmul(first * sin, second, cos),
            ],
            dim=-1,
        )


class RotaryAttention(nn.Module):
    """Multi-head self-attention within each event, on positions."""

    def __init__(self, width: int, n_heads: int, head_width: int) -> None:
        """Width channels, looked at by n_heads heads of head_width channels each."""
        super().__init__()
        self.shape = (3, n_heads, head_width)
        self.qkv = Dense(width, 3 * n_heads * head_width)
        self.out = Dense(n_heads * head_width, width)
        # Heads begin by looking at what is near, each in a cone of its own.
        with torch.no_grad():
            bias = self.qkv.bias.view(self.shape)
            for head in range(n_heads):
                bias[:2, head, :N_TURNED] = FIRST_FOCUS / (1 + head)

    def forward(self, x: Tensor, turn: Turn, layout: Layout) -> Tensor:
        """(n_total, width) to the same shape."""
        qkv = self.qkv(x).view(len(x), *self.shape)
        collected = turn(attention.attend(turn(qkv).to(qkv.dtype), layout), back=True)
        return self.out(collected.flatten(1))
