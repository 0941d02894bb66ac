"""Training one classifier: cross entropy, stopped where the validation part stops improving."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hitools.core.compare.classify.dataset import LabelledEvents, Parts, Scaling, chunk
from hitools.core.features import Float32Array, IntArray

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TrainingOptions:
    """How a classifier is trained.

    Attributes:
        with_event_vector: a particle-level classifier also sees the stored event vector.
        device: "auto", "cpu", "cuda", ...
        max_epochs: at most this many passes over the training part.
        patience_steps: stop after this many steps without a better validation loss, though not
            before patience_epochs. Small samples have few steps in an epoch, and a network may
            need a hundred before it finds anything.
        patience_epochs: see there.
        batch_events: events a step.
        batch_particles: and at most about so many particles.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
    """

    with_event_vector: bool = False
    device: str = "auto"
    max_epochs: int = 60
    patience_steps: int = 500
    patience_epochs: int = 5
    batch_events: int = 64
    batch_particles: int = 1 << 18
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained classifier's answers where it must not have looked while training.

    Attributes:
        validation: (n_validation,) float32 logits; they chose the epoch.
        test: (n_test,) float32 logits; nothing depended on them.
        epochs: passes over the training part up to the chosen one.
    """

    validation: Float32Array
    test: Float32Array
    epochs: int


def train(
    name: str,
    data: LabelledEvents,
    parts: Parts,
    options: TrainingOptions,
    seed: int,
    advance: Callable[[float], None] = lambda share: None,  # noqa: ARG005
) -> Fitted:
    """Train the classifier of this name and apply the epoch with the best validation loss.

    Args:
        name: see networks.build.
        data: both samples.
        parts: see dataset.split.
        options: how.
        seed: of initialisation and order; the same seed gives the same logits on one machine.
        advance: told the share of this training that is done since the last call, in all 1.
    """
    import torch

    from hitools.core.compare.classify import networks

    device = _device(options.device)
    rng = np.random.default_rng([seed, 0x7A1])
    # Initialisation draws from torch's global generator: borrow it and give it back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = networks.build(name, with_event_vector=options.with_event_vector).to(device)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    trainer = _Trainer(network, data, Scaling.of(data, parts.training), device, options)
    patience = trainer.patience(len(parts.training))
    best_loss, best_epoch, best_state = np.inf, 0, network.state_dict()
    for epoch in range(1, options.max_epochs + 1):
        network.train()
        for rows in trainer.batches(rng.permutation(parts.training)):
            optimiser.zero_grad()
            trainer.loss(rows).backward()
            optimiser.step()
        loss = trainer.mean_loss(parts.validation)
        advance(1 / options.max_epochs)
        if loss < best_loss:
            best_loss, best_epoch = loss, epoch
            best_state = {key: value.clone() for key, value in network.state_dict().items()}
        elif epoch - best_epoch >= patience:
            advance(1 - epoch / options.max_epochs)
            break
    network.load_state_dict(best_state)
    return Fitted(trainer.logits(parts.validation), trainer.logits(parts.test), best_epoch)


def _device(name: str) -> "torch.device":
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


class _Trainer:
    """A network, its data, and the loss between them."""

    def __init__(
        self,
        network: "torch.nn.Module",
        data: LabelledEvents,
        scaling: Scaling,
        device: "torch.device",
        options: TrainingOptions,
    ) -> None:
        import torch

        self._network = network
        self._data = data
        self._scaling = scaling
        self._device = device
        self._options = options
        self._labels = torch.from_numpy(data.is_reference.astype(np.float32)).to(device)
        self._weights = torch.from_numpy(data.weights.astype(np.float32)).to(device)

    def patience(self, n_training: int) -> int:
        """Epochs without a better validation loss after which to stop."""
        steps = -(-n_training // self._options.batch_events)
        return max(self._options.patience_epochs, -(-self._options.patience_steps // steps))

    def batches(self, rows: IntArray) -> Iterator[IntArray]:
        """Runs of nearly equal size: batch normalisation has no use for a last one of three."""
        n_particles = int(self._data.n_particles[rows].sum())
        n_batches = max(
            -(-len(rows) // self._options.batch_events),
            -(-n_particles // self._options.batch_particles),
        )
        yield from np.array_split(rows, min(n_batches, max(1, len(rows) // 2)))

    def loss(self, rows: IntArray) -> "torch.Tensor":
        """Weighted cross entropy per event of these events."""
        import torch

        logits = self._network(chunk(self._data, rows, self._scaling, self._device))
        return torch.nn.functional.binary_cross_entropy_with_logits(
            logits, self._labels[rows], weight=self._weights[rows]
        )

    def mean_loss(self, rows: IntArray) -> float:
        """The same in evaluation mode, over any number of events."""
        import torch

        with torch.inference_mode():
            self._network.eval()
            total = sum(self.loss(part).item() * len(part) for part in self.batches(rows))
        return total / len(rows)

    def logits(self, rows: IntArray) -> Float32Array:
        """(n,) of these events, in evaluation mode."""
        import torch

        with torch.inference_mode():
            self._network.eval()
            parts = [
                self._network(chunk(self._data, part, self._scaling, self._device)).cpu().numpy()
                for part in self.batches(rows)
            ]
        return np.concatenate(parts)
