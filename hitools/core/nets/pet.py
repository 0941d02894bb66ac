"""The particle branch: Point-Edge Transformer body and generator head (OmniLearn, 2404.16091)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hitools.core.nets.attention import Attention
from hitools.core.nets.config import NetConfig
from hitools.core.nets.edges import LocalLayer
from hitools.core.nets.layers import Dense, EventNorm, LayerScale, Modulation, TimeEmbedding
from hitools.core.nets.layout import Layout
from hitools.core.nets.neighbours import nearest_neighbours


class Block(nn.Module):
    """Attention and a two-layer network, each normalised before and scaled after."""

    def __init__(self, config: NetConfig) -> None:
        """Sizes from config."""
        super().__init__()
        width = config.width
        self.attention_norm = EventNorm(width)
        self.attention = Attention(width, config.n_heads)
        self.attention_scale = LayerScale(width, config.layer_scale)
        self.mlp_norm = EventNorm(width)
        self.mlp_hidden = Dense(width, 2 * width)
        self.mlp_out = Dense(2 * width, width)
        self.mlp_scale = LayerScale(width, config.layer_scale)

    def forward(self, x: Tensor, attended: Tensor, layout: Layout) -> Tensor:
        """Update the stream x by attention over `attended` (in the body x itself)."""
        update = self.attention(self.attention_norm(attended, layout), layout)
        x = x + self.attention_scale(update)
        update = self.mlp_out(functional.gelu(self.mlp_hidden(self.mlp_norm(x, layout))))
        return x + self.mlp_scale(update)


class Body(nn.Module):
    """Noised particles and time to a representation of each particle."""

    def __init__(self, config: NetConfig) -> None:
        """Sizes from config."""
        super().__init__()
        width = config.width
        self.config = config
        self.embed_hidden = Dense(config.n_particle_features, 2 * width)
        self.embed_out = Dense(2 * width, width)
        self.time = TimeEmbedding(width)
        self.modulation = Modulation(width, bias=False)
        sizes = [config.n_particle_features] + [width] * (config.n_local_layers - 1)
        self.local_layers = nn.ModuleList(
            LocalLayer(n_in, width) for n_in in sizes[: config.n_local_layers]
        )
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_blocks))

    def forward(self, x: Tensor, t: Tensor, layout: Layout) -> Tensor:
        """(n_total, n_particle_features) and (n_events,) times to (n_total, width)."""
        embedded = functional.gelu(self.embed_out(functional.gelu(self.embed_hidden(x))))
        factor, shift = self.modulation(self.time(t))
        embedded = embedded * layout.spread(factor) + layout.spread(shift)

        if self.local_layers:
            points, local = x[:, list(self.config.neighbour_columns)], x
            for layer in self.local_layers:
                neighbours = nearest_neighbours(points, layout, self.config.n_neighbours)
                local = layer(local, *neighbours)
                points = local  # the next neighbourhoods are found among the learned features
            embedded = embedded + local

        hidden = embedded
        for block in self.blocks:
            hidden = block(hidden, hidden, layout)
        return hidden + embedded


class Head(nn.Module):
    """Particle representations, event features and time to the velocity of each particle."""

    def __init__(self, config: NetConfig) -> None:
        """Sizes from config."""
        super().__init__()
        width = config.width
        self.time = TimeEmbedding(width)
        self.event_embed = Dense(config.n_event_features, width)
        self.condition_hidden = Dense(2 * width, 2 * width)
        self.condition_out = Dense(2 * width, width)
        self.label = Dense(config.n_classes, width, bias=False)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_head_blocks))
        self.norm = EventNorm(width)
        self.out = Dense(width, config.n_particle_features)

    def forward(
        self, encoded: Tensor, t: Tensor, events: Tensor, label: Tensor, layout: Layout
    ) -> Tensor:
        """(n_total, width), (n_events,), (n_events, n_event_features), (n_events, n_classes)."""
        event = functional.gelu(self.event_embed(events))
        condition = functional.gelu(self.condition_hidden(torch.cat([self.time(t), event], dim=-1)))
        condition = functional.gelu(self.condition_out(condition)) + self.label(label)
        token = layout.spread(condition)
        for block in self.blocks:
            token = block(token, token + encoded, layout)
        return self.out(self.norm(token + encoded, layout))
