"""The local layer: what a particle learns from its nearest neighbours (EdgeConv, 1801.07829)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hitools.core.nets.layers import linear


class LocalLayer(nn.Module):
    """Mean over neighbours j of a two-layer network of (x_j - x_i, x_i)."""

    def __init__(self, n_in: int, width: int) -> None:
        """n_in channels per particle to width."""
        super().__init__()
        self.hidden = linear(2 * n_in, 2 * width)
        self.out = linear(2 * width, width)

    def forward(self, x: Tensor, indices: Tensor, n_found: Tensor) -> Tensor:
        """(n_total, n_in), neighbours (n_total, k) and how many count, to (n_total, width)."""
        k = indices.shape[1]
        # The first layer is linear in x_j and x_i: applied per particle, not per pair.
        to_difference, to_centre = self.hidden.weight.chunk(2, dim=1)
        neighbour = functional.linear(x, to_difference)
        centre = functional.linear(x, to_centre - to_difference, self.hidden.bias)
        pairs = functional.gelu(neighbour[indices] + centre[:, None])
        messages = functional.gelu(self.out(pairs))
        counts = torch.arange(k, device=x.device) < n_found[:, None]
        weights = counts / n_found[:, None]
        return (messages * weights[..., None]).sum(1)
