"""The classifiers: an MLP on the event vector, Deep Sets and a transformer on the particles.

All take a Chunk and return one logit an event. The particle-level ones do not depend on the
order of the particles, and see nothing of the stored event vector unless told to.
"""

import itertools
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from hitools.core.compare.classify.dataset import PARTICLE_INPUTS
from hitools.core.features import EVENT_COLUMNS

if TYPE_CHECKING:
    from hitools.core.compare.classify.dataset import Chunk

EVENT_WIDTH: Final = 128
SET_WIDTH: Final = 64
TRANSFORMER_WIDTH: Final = 64
TRANSFORMER_HEADS: Final = 2
TRANSFORMER_LAYERS: Final = 2


def build(name: str, *, with_event_vector: bool) -> "nn.Module":
    """The network of this name ("event", "deepsets", "transformer"), freshly initialised."""
    if name == "event":
        return EventClassifier()
    if name == "deepsets":
        return DeepSets(with_event_vector=with_event_vector)
    if name == "transformer":
        return ParticleTransformer(with_event_vector=with_event_vector)
    raise ValueError(f"no classifier {name!r}")


def _mlp(*widths: int) -> nn.Sequential:
    """Linear layers with GELU between them."""
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(itertools.pairwise(widths)):
        layers += [nn.GELU()] if i else []
        layers += [nn.Linear(before, after)]
    return nn.Sequential(*layers)


class EventClassifier(nn.Module):
    """MLP on the 11 event features."""

    def __init__(self) -> None:
        """Fresh weights from torch's global generator."""
        super().__init__()
        self.layers = _mlp(len(EVENT_COLUMNS), EVENT_WIDTH, EVENT_WIDTH, EVENT_WIDTH, 1)

    def forward(self, chunk: "Chunk") -> Tensor:
        """(n_events,) logits."""
        return self.layers(chunk.events).squeeze(1)


class _Head(nn.Module):
    """From the pooled embedding of an event to its logit.

    The mean over N particles of an embedding varies by 1/sqrt(N) only; the first batch sets a
    scale that makes it of order one, without which training is several times slower.
    """

    def __init__(self, width: int, *, with_event_vector: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, momentum=0.05)
        self.with_event_vector = with_event_vector
        extra = len(EVENT_COLUMNS) if with_event_vector else 0
        self.layers = _mlp(width + extra, width, width, 1)

    def forward(self, pooled: Tensor, chunk: "Chunk") -> Tensor:
        values = self.norm(pooled)
        if self.with_event_vector:
            values = torch.cat([values, chunk.events], dim=1)
        return self.layers(values).squeeze(1)


def _mean_over_particles(values: Tensor, chunk: "Chunk") -> Tensor:
    """(n_particles_total, width) -> (n_events, width); 0 for an event without particles."""
    n_events = len(chunk.n_particles)
    sums = values.new_zeros(n_events, values.shape[1])
    sums = sums.index_add(0, chunk.event_of_particle, values)
    return sums / chunk.n_particles.clamp(min=1)[:, None]


class DeepSets(nn.Module):
    """The same MLP on every particle, the mean over particles, an MLP on the mean."""

    def __init__(self, *, with_event_vector: bool) -> None:
        """Fresh weights from torch's global generator."""
        super().__init__()
        self.embed = nn.Sequential(_mlp(len(PARTICLE_INPUTS), SET_WIDTH, SET_WIDTH), nn.GELU())
        self.head = _Head(SET_WIDTH, with_event_vector=with_event_vector)

    def forward(self, chunk: "Chunk") -> Tensor:
        """(n_events,) logits."""
        return self.head(_mean_over_particles(self.embed(chunk.particles), chunk), chunk)


class ParticleTransformer(nn.Module):
    """Attention among the particles of an event, then mean and attention pooling, then an MLP.

    Stronger than Deep Sets: it sees pairs of particles (jets, correlations), single outstanding
    particles (through the attention pooling), and the number of particles, which a mean hides.
    """

    def __init__(self, *, with_event_vector: bool) -> None:
        """Fresh weights from torch's global generator."""
        super().__init__()
        width = TRANSFORMER_WIDTH
        self.embed = _mlp(len(PARTICLE_INPUTS), width, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(TRANSFORMER_LAYERS))
        self.norm = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 1)
        self.head = _Head(2 * width + 1, with_event_vector=with_event_vector)

    def forward(self, chunk: "Chunk") -> Tensor:
        """(n_events,) logits."""
        values = self.embed(chunk.particles)
        starts = chunk.n_particles.cumsum(0) - chunk.n_particles
        pooled = values.new_zeros(len(chunk.n_particles), 2 * TRANSFORMER_WIDTH)
        for rows in _groups_of_similar_size(chunk.n_particles):
            padded, is_real = _padded(values, starts[rows], chunk.n_particles[rows])
            for block in self.blocks:
                padded = block(padded, is_real)
            pooled = pooled.index_copy(0, rows, self._pool(self.norm(padded), is_real))
        return self.head(torch.cat([pooled, chunk.log_multiplicity[:, None]], dim=1), chunk)

    def _pool(self, padded: Tensor, is_real: Tensor) -> Tensor:
        """(n_events, length, width) -> (n_events, 2 width)."""
        share = self.attention(padded).masked_fill(~is_real[:, :, None], -torch.inf).softmax(1)
        mean = (padded * is_real[:, :, None]).sum(1) / is_real.sum(1, keepdim=True)
        return torch.cat([mean, (padded * share).sum(1)], dim=1)


class _Block(nn.Module):
    """Pre-norm self-attention and MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = _mlp(width, 2 * width, width)

    def forward(self, values: Tensor, is_real: Tensor) -> Tensor:
        """(n_events, length, width) -> the same shape; padded rows hold anything."""
        n_events, length, width = values.shape
        qkv = self.project_in(self.norm_attention(values))
        q, k, v = (
            x.reshape(n_events, length, TRANSFORMER_HEADS, -1).transpose(1, 2)
            for x in qkv.chunk(3, dim=2)
        )
        mixed = nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=is_real[:, None, None, :]
        )
        values = values + self.project_out(mixed.transpose(1, 2).reshape(n_events, length, width))
        return values + self.mlp(self.norm_mlp(values))


_PADDED_PARTICLES: Final = {"cpu": 1 << 11, "cuda": 1 << 17}
"""Of a group: larger ones waste time on padding, smaller ones on calls."""


def _groups_of_similar_size(n_particles: Tensor) -> list[Tensor]:
    """Indices of the events that have particles, in groups of neighbours in size."""
    budget = _PADDED_PARTICLES.get(n_particles.device.type, 1 << 11)
    order = torch.argsort(n_particles, descending=True, stable=True)
    sizes = n_particles[order].tolist()
    groups, start = [], 0
    while start < len(sizes) and sizes[start] > 0:
        stop = start + max(1, budget // sizes[start])
        group = order[start:stop]
        groups.append(group[n_particles[group] > 0])
        start = stop
    return groups


def _padded(values: Tensor, starts: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Packed rows as (n_events, longest, width), and which of them are real."""
    slots = torch.arange(int(counts.max()), device=values.device)
    is_real = slots < counts[:, None]
    source = torch.where(is_real, starts[:, None] + slots, 0)
    return values[source], is_real
