"""The event branch: a residual network over the event vector, modulated by diffusion time."""

from torch import Tensor, nn
from torch.nn import functional

from hitools.core.nets.config import NetConfig
from hitools.core.nets.layers import Dense, LayerScale, Modulation, TimeEmbedding

LAYER_NORM_EPSILON = 1e-6


class ResidualBlock(nn.Module):
    """A linear shortcut plus two dense layers, scaled."""

    def __init__(self, n_in: int, n_out: int, layer_scale: float) -> None:
        """n_in channels to n_out."""
        super().__init__()
        self.norm = nn.LayerNorm(n_in, eps=LAYER_NORM_EPSILON)
        self.shortcut = Dense(n_in, n_out)
        self.first = Dense(n_in, n_out)
        self.second = Dense(n_out, n_out)
        self.scale = LayerScale(n_out, layer_scale)

    def forward(self, x: Tensor) -> Tensor:
        """(n_events, n_in) to (n_events, n_out)."""
        x = self.norm(x)
        return self.shortcut(x) + self.scale(
            functional.silu(self.second(functional.silu(self.first(x))))
        )


class EventResNet(nn.Module):
    """Noised event vector, time and class label to the event's velocity."""

    def __init__(self, config: NetConfig) -> None:
        """Sizes from config."""
        super().__init__()
        width, hidden = config.width, 2 * config.width
        self.time = TimeEmbedding(width)
        self.label = Dense(config.n_classes, width)
        self.modulation = Modulation(width)
        self.embed = Dense(config.n_event_features, width)
        self.blocks = nn.ModuleList(
            ResidualBlock(hidden if i else width, hidden, config.layer_scale)
            for i in range(config.n_event_blocks)
        )
        self.norm = nn.LayerNorm(hidden, eps=LAYER_NORM_EPSILON)
        self.out = Dense(hidden, config.n_event_features)
        nn.init.zeros_(self.out.weight)  # the untrained velocity is zero, as in the original

    def forward(self, events: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """(n_events, n_event_features), (n_events,), (n_events, n_classes) to the first shape."""
        factor, shift = self.modulation(self.label(label) + self.time(t))
        x = functional.silu(self.embed(events)) * factor + shift
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x))
