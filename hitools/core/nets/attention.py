"""Self-attention within each event of a packed batch, by fused kernels: no N x N matrix is kept."""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from hitools.core.nets.layers import Dense
from hitools.core.nets.layout import Layout

MOST_CHANNELS: Final = 256
"""Of a head, in FlashAttention's kernels, which take them by eights."""


class Attention(nn.Module):
    """Multi-head self-attention; particles see the particles of their own event alone."""

    def __init__(self, width: int, n_heads: int) -> None:
        """Width channels in n_heads heads."""
        super().__init__()
        self.n_heads = n_heads
        self.qkv = Dense(width, 3 * width)
        self.out = Dense(width, width)
        # Keras counts the axis of the heads into the fans of its Glorot-uniform weights.
        depth = width // n_heads
        qkv_limit = math.sqrt(6 / (width * (n_heads + depth)))
        nn.init.uniform_(self.qkv.weight, -qkv_limit, qkv_limit)
        out_limit = math.sqrt(6 / (n_heads * (depth + width)))
        nn.init.uniform_(self.out.weight, -out_limit, out_limit)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """(n_total, width) to the same shape."""
        n_total, width = x.shape
        qkv = self.qkv(x).view(n_total, 3, self.n_heads, width // self.n_heads)
        return self.out(attend(qkv, layout).reshape(n_total, width))


def attend(qkv: Tensor, layout: Layout) -> Tensor:
    """Queries, keys and values (n_total, 3, heads, d) to (n_total, heads, d), event by event."""
    if not qkv.is_cuda or not len(qkv):
        return attend_by_runs(qkv, layout)
    if flash_takes(qkv) and torch.cuda.get_device_capability(qkv.device) >= (8, 0):
        return attend_varlen(qkv, layout)
    return attend_jagged(qkv, layout)


def flash_takes(qkv: Tensor) -> bool:
    """Whether FlashAttention has a kernel for (n_total, 3, heads, d) of this kind."""
    width = qkv.shape[-1]
    return qkv.dtype != torch.float32 and width % 8 == 0 and width <= MOST_CHANNELS


def attend_by_runs(qkv: Tensor, layout: Layout) -> Tensor:
    """For the CPU: a fused call for each run of events of one length, so that nothing is padded.

    In float32 always: the CPU's fused kernel is slower in bfloat16.
    """
    outputs = [qkv.new_empty(0, *qkv.shape[2:], dtype=torch.float32)]
    with torch.autocast(qkv.device.type, enabled=False):
        for stack in layout.stacked(qkv.float()):
            if not stack.shape[1]:
                continue
            q, k, v = stack.permute(2, 0, 3, 1, 4)
            attended = functional.scaled_dot_product_attention(q, k, v)
            outputs.append(attended.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs)


def attend_varlen(qkv: Tensor, layout: Layout) -> Tensor:
    """For half precision on CUDA: FlashAttention over packed sequences."""
    from torch.nn.attention.varlen import varlen_attn

    boundaries = layout.filled_offsets.int()
    longest = layout.longest
    q, k, v = qkv.unbind(1)
    attended = varlen_attn(q, k, v, boundaries, boundaries, longest, longest)
    assert isinstance(attended, Tensor)  # a pair only where auxiliary outputs are asked for
    return attended


def attend_jagged(qkv: Tensor, layout: Layout) -> Tensor:
    """For float32 on CUDA: the memory-efficient kernel, which takes packed events as jagged."""
    shortest = min(count for count in layout.counts if count)
    q, k, v = (
        torch.nested.nested_tensor_from_jagged(
            values.contiguous(),
            layout.filled_offsets,
            min_seqlen=shortest,
            max_seqlen=layout.longest,
        ).transpose(1, 2)
        for values in qkv.unbind(1)
    )
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).values()
