"""Self-attention within each event of a packed batch, by fused kernels: no N x N matrix is kept."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hitools.core.nets.layers import linear
from hitools.core.nets.layout import Layout


class Attention(nn.Module):
    """Multi-head self-attention; particles see the particles of their own event alone."""

    def __init__(self, width: int, n_heads: int) -> None:
        """Width channels in n_heads heads."""
        super().__init__()
        self.n_heads = n_heads
        self.qkv = linear(width, 3 * width)
        self.out = linear(width, width)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """(n_total, width) to the same shape."""
        n_total, width = x.shape
        qkv = self.qkv(x).view(n_total, 3, self.n_heads, width // self.n_heads)
        events = qkv.split(layout.counts)
        outputs = []
        for event in events:
            q, k, v = event.permute(1, 2, 0, 3)[:, None]
            outputs.append(functional.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1))
        return self.out(torch.cat(outputs).reshape(n_total, width))
