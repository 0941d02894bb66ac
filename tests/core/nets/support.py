"""Networks and events that the tests of this folder share."""

import torch
from torch import Tensor

from hitools.core.nets.config import NetConfig
from hitools.core.nets.model import Denoiser

SMALL = NetConfig(width=32, n_blocks=2, n_head_blocks=1, n_neighbours=4)


def lively(config: NetConfig | None = None, seed: int = 0) -> Denoiser:
    """A network in which every part matters: LayerScale of order one, no zero weights."""
    torch.manual_seed(seed)
    model = Denoiser(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("scale.weight"):
                parameter.uniform_(0.5, 1.5)
            elif not parameter.any():
                parameter.normal_(std=0.1)
    return model.eval()


def random_events(
    counts: list[int], seed: int = 0, config: NetConfig | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Noised particles, times, event vectors and offsets of events with these multiplicities."""
    config = config or NetConfig()
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(counts), config.n_particle_features, generator=generator)
    t = torch.rand(len(counts), generator=generator)
    events = torch.randn(len(counts), config.n_event_features, generator=generator)
    return x, t, events, offsets_of(counts)


def offsets_of(counts: list[int]) -> Tensor:
    """Offsets of a packing."""
    return torch.tensor([0, *torch.tensor(counts).cumsum(0).tolist()])
