"""The local layer: what a particle learns from its nearest neighbours (EdgeConv, 1801.07829).

A batch has K times as many pairs as particles, and each pair passes a two-layer network: in
memory this would outweigh everything else. So the pairs are made a tile at a time, small enough
for the cache, and made again in the backward pass.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from hitools.core.nets.layers import Dense, dense

PAIRS_PER_TILE = {"cpu": 1 << 11}
"""On the CPU a tile stays in the second-level cache."""
DEFAULT_PAIRS_PER_TILE = 1 << 16


class LocalLayer(nn.Module):
    """Mean over neighbours j of a two-layer network of (x_j - x_i, x_i)."""

    def __init__(self, n_in: int, width: int) -> None:
        """n_in channels per particle to width."""
        super().__init__()
        self.hidden = Dense(2 * n_in, 2 * width)
        self.out = Dense(2 * width, width)

    def forward(self, x: Tensor, indices: Tensor, n_found: Tensor) -> Tensor:
        """(n_total, n_in), neighbours (n_total, k) and how many count, to (n_total, width)."""
        device = x.device.type
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        with torch.autocast(device, enabled=False):
            # The first layer is linear in x_j and x_i, so it is applied to particles, not pairs:
            # W_d (x_j - x_i) + W_c x_i = W_d x_j + (W_c - W_d) x_i. In full precision, since near
            # neighbours differ little.
            to_difference, to_centre = self.hidden.weight.chunk(2, dim=1)
            neighbour = dense(x, to_difference)
            centre = dense(x, to_centre - to_difference, self.hidden.bias)
            return PairMessages.apply(
                neighbour, centre, self.out.weight.to(low), self.out.bias.to(low), indices, n_found
            )


class PairMessages(torch.autograd.Function):
    """mean_j gelu(W gelu(neighbour_j + centre_i) + b) over the neighbours j of i that count."""

    @staticmethod
    def forward(
        ctx: Any,
        neighbour: Tensor,
        centre: Tensor,
        weight: Tensor,
        bias: Tensor,
        indices: Tensor,
        n_found: Tensor,
    ) -> Tensor:
        """(n_total, hidden) twice, (width, hidden), (width,), (n_total, k), (n_total,)."""
        ctx.save_for_backward(neighbour, centre, weight, bias, indices, n_found)
        out = centre.new_empty(len(centre), len(weight))
        for rows in tiles(indices):
            _, _, pre_message = pairs(neighbour, centre, weight, bias, indices, rows)
            message = functional.gelu(pre_message).view(*indices[rows].shape, -1)
            total = torch.bmm(counted(indices[rows], n_found[rows], message), message)[:, 0]
            out[rows] = total / n_found[rows, None]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the first four inputs; indices carry none."""
        (grad_out,) = grads
        neighbour, centre, weight, bias, indices, n_found = ctx.saved_tensors
        d_neighbour = torch.zeros_like(neighbour)
        d_centre = torch.empty_like(centre)
        # Sums over tiles stay in full precision, also where the weights are bfloat16.
        d_weight = torch.zeros_like(weight, dtype=centre.dtype)
        d_bias = torch.zeros_like(bias, dtype=centre.dtype)
        for rows in tiles(indices):
            pre, hidden, pre_message = pairs(neighbour, centre, weight, bias, indices, rows)
            share = (grad_out[rows] / n_found[rows, None])[:, None]
            d_message = counted(indices[rows], n_found[rows], share).transpose(1, 2) * share
            d_pre_message = torch.ops.aten.gelu_backward(
                d_message.flatten(0, 1).to(weight.dtype), pre_message
            )
            d_weight += d_pre_message.T @ hidden
            d_bias += d_pre_message.sum(0)
            d_pre = torch.ops.aten.gelu_backward((d_pre_message @ weight).to(pre.dtype), pre)
            d_centre[rows] = d_pre.view(*indices[rows].shape, -1).sum(1)
            d_neighbour.index_add_(0, indices[rows].flatten(), d_pre)
        return d_neighbour, d_centre, d_weight.to(weight.dtype), d_bias.to(bias.dtype), None, None


def tiles(indices: Tensor) -> list[slice]:
    """Runs of particles whose pairs are made together."""
    n_pairs = PAIRS_PER_TILE.get(indices.device.type, DEFAULT_PAIRS_PER_TILE)
    step = max(1, n_pairs // indices.shape[1])
    return [slice(first, first + step) for first in range(0, len(indices), step)]


def pairs(
    neighbour: Tensor, centre: Tensor, weight: Tensor, bias: Tensor, indices: Tensor, rows: slice
) -> tuple[Tensor, Tensor, Tensor]:
    """The network of the pairs of some particles: before and after GELU, and its output."""
    nearby = neighbour.index_select(0, indices[rows].flatten())
    pre = nearby.view(*indices[rows].shape, -1).add_(centre[rows, None]).flatten(0, 1)
    hidden = functional.gelu(pre).to(weight.dtype)
    return pre, hidden, torch.addmm(bias, hidden, weight.T)


def counted(indices: Tensor, n_found: Tensor, like: Tensor) -> Tensor:
    """(n, 1, k) of 1 for the neighbours that count and 0 for the others, in the type of `like`."""
    place = torch.arange(indices.shape[1], device=indices.device)
    return (place < n_found[:, None]).to(like.dtype)[:, None]
