"""The network as padded code computes it, with the same weights: what packing is measured against.

Every event takes N_MAX slots in every layer. Neighbours come from an N x N matrix of distances,
pairs are kept, attention is dense with a mask over the empty slots. The mask also keeps them out of
means and neighbourhoods, so that the output is the packed network's.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hitools.core.nets.edges import LocalLayer
from hitools.core.nets.model import Denoiser
from hitools.core.nets.pet import Block

N_MAX = 1024


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """(..., n_in) to (..., n_out)."""
    return functional.linear(x, layer.weight, layer.bias)


class PaddedDenoiser(Denoiser):
    """A Denoiser whose particle branch pads every event to N_MAX slots."""

    def particle_velocity(
        self, x: Tensor, t: Tensor, events: Tensor, offsets: Tensor, label: Tensor | None = None
    ) -> Tensor:
        """As Denoiser.particle_velocity; raises ValueError for an event above N_MAX."""
        counts = offsets.diff().to(x.device)
        t = t.expand(len(counts))
        if len(counts) and int(counts.max()) > N_MAX:
            raise ValueError(f"an event of {int(counts.max())} particles, more than {N_MAX}")
        mask = torch.arange(N_MAX, device=x.device) < counts[:, None]
        slots = x.new_zeros(*mask.shape, x.shape[1])
        slots[mask] = x
        encoded = self._body(slots, t, mask)
        return self._head(encoded, t, events, self._label(label, events), mask)[mask]

    def _body(self, x: Tensor, t: Tensor, mask: Tensor) -> Tensor:
        body = self.body
        embedded = functional.gelu(linear(body.embed_hidden, x))
        embedded = functional.gelu(linear(body.embed_out, embedded))
        factor, shift = body.modulation(body.time(t))
        embedded = embedded * factor[:, None] + shift[:, None]
        if body.local_layers:
            points, local = x[..., list(body.config.neighbour_columns)], x
            for layer in body.local_layers:
                local = edges(layer, local, points, mask, body.config.n_neighbours)
                points = local
            embedded = embedded + local
        hidden = embedded
        for block in body.blocks:
            hidden = transform(block, hidden, hidden, mask)
        return hidden + embedded

    def _head(
        self, encoded: Tensor, t: Tensor, events: Tensor, label: Tensor, mask: Tensor
    ) -> Tensor:
        head = self.head
        event = functional.gelu(head.event_embed(events))
        condition = torch.cat([head.time(t), event], dim=-1)
        condition = functional.gelu(head.condition_hidden(condition))
        condition = functional.gelu(head.condition_out(condition)) + head.label(label)
        token = condition[:, None].expand(encoded.shape)
        for block in head.blocks:
            token = transform(block, token, token + encoded, mask)
        return linear(head.out, normalise(head.norm, token + encoded, mask))


def edges(layer: LocalLayer, x: Tensor, points: Tensor, mask: Tensor, k: int) -> Tensor:
    """Mean of the pair network over the k nearest particles: (b, n, c) to (b, n, width)."""
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        distances = torch.cdist(points.float(), points.float())
        distances.masked_fill_(~mask[:, None], torch.inf)
        distances.diagonal(dim1=1, dim2=2).fill_(torch.inf)
        nearest = distances.topk(k, dim=2, largest=False)
        real = nearest.values.isfinite()
        own = torch.arange(x.shape[1], device=x.device)[:, None]
        neighbours = torch.where(real, nearest.indices, own)
        real[..., 0] |= ~real.any(2)  # a particle alone is its own neighbour
    batch = torch.arange(len(x), device=x.device)[:, None, None]
    centre = x[:, :, None].expand(-1, -1, k, -1)
    pair = torch.cat([x[batch, neighbours] - centre, centre], dim=-1)
    message = functional.gelu(linear(layer.out, functional.gelu(linear(layer.hidden, pair))))
    return (message * real[..., None]).sum(2) / real.sum(2, keepdim=True)


def normalise(norm: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
    """One mean and variance per event over its real slots."""
    x, real = x.float(), mask[..., None]
    size = x.shape[2] * mask.sum(1).clamp(min=1)[:, None, None]
    centred = (x - (x * real).sum((1, 2), keepdim=True) / size) * real
    variance = centred.square().sum((1, 2), keepdim=True) / size
    return centred * torch.rsqrt(variance + 1e-3) * norm.weight + norm.bias


def transform(block: Block, x: Tensor, attended: Tensor, mask: Tensor) -> Tensor:
    """A transformer block with dense attention, masked."""
    attention = block.attention
    qkv = linear(attention.qkv, normalise(block.attention_norm, attended, mask))
    q, k, v = qkv.unflatten(2, (3, attention.n_heads, -1)).permute(2, 0, 3, 1, 4)
    seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
    update = linear(attention.out, seen.transpose(1, 2).flatten(2))
    x = x + block.attention_scale(update)
    update = functional.gelu(linear(block.mlp_hidden, normalise(block.mlp_norm, x, mask)))
    return x + block.mlp_scale(linear(block.mlp_out, update))
