"""What a run is at one moment: everything that continuing it bit for bit needs."""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hitools.core.nets.networks import Network
from hitools.core.training.step import Sums


@dataclass
class EpochSums:
    """What an epoch has added up so far.

    Attributes:
        sums: of all processes, as in step.Sums.
        gradient: sum of the gradient norms.
        steps: optimiser steps.
        events: of all processes.
        seconds: spent.
        waited: of these, waiting for data (of the process that writes).
    """

    sums: list[float] = field(default_factory=lambda: [0.0] * Sums.LENGTH)
    gradient: float = 0.0
    steps: int = 0
    events: int = 0
    seconds: float = 0.0
    waited: float = 0.0


@dataclass
class Progress:
    """What of a run is no tensor.

    Attributes:
        step: optimiser steps done.
        best: lowest validation loss so far; None before the first validation.
        seconds: spent training, over all starts of the run.
        history: the lines of metrics.jsonl.
        epoch: this epoch so far.
    """

    step: int = 0
    best: float | None = None
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    epoch: EpochSums = field(default_factory=EpochSums)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; floats keep every bit."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Progress":
        """The inverse of to_dict."""
        return cls(**(values | {"epoch": EpochSums(**values["epoch"])}))


def collect(model: Network, average: Network, optimiser: Optimizer) -> dict[str, Tensor]:
    """All tensors of a run by name."""
    tensors = {f"weights.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    for name, weight in model.named_parameters():
        for slot, value in optimiser.state[weight].items():
            tensors[f"optimiser.{slot}.{name}"] = value
    return tensors


@torch.no_grad()
def restore(
    tensors: dict[str, Tensor], model: Network, average: Network, optimiser: Optimizer
) -> None:
    """Put collected tensors back where they came from."""
    for prefix, network in (("weights.", model), ("average.", average)):
        network.load_state_dict(
            {
                name.removeprefix(prefix): value
                for name, value in tensors.items()
                if name.startswith(prefix)
            }
        )
    weights = dict(model.named_parameters())
    for name, value in tensors.items():
        if not name.startswith("optimiser."):
            continue
        _, slot, weight_name = name.split(".", 2)
        weight = weights[weight_name]
        # Counters of steps are scalars and live on the host.
        optimiser.state[weight][slot] = value.to(weight.device) if value.ndim else value.clone()
