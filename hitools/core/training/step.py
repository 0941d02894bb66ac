"""The loss of one process's part of a step, and its gradient, pass by pass within the budget.

Used alike for training and for validation: one objective, called twice.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from hitools.core.batch import EventBatch, runs_by_budget
from hitools.core.budget import Budget
from hitools.core.diffusion.objective import losses
from hitools.core.nets.layout import Layout
from hitools.core.nets.model import Denoiser
from hitools.core.noise import NoiseKey, normals
from hitools.core.scaling import Representation
from hitools.core.training.feed import Step

TERMS = ("event", "particle", "psi")
"""Parts of the loss, in the order of the sums below."""


@dataclass(frozen=True)
class PlanePenalty:
    """L_psi for any representation: 1 - cos 2(psi_reco - psi_true) of denoised particles.

    (Paper, section V C.) psi_reco is the event plane of the particles' physical pT and phi.
    """

    representation: Representation

    def __call__(self, particles: Tensor, events: Tensor, layout: Layout) -> Tensor:
        """L_psi per event.

        Args:
            particles: (n_total, n_particle_features) denoised, in model space.
            events: (n_events, n_event_features) in model space.
            layout: which particles form an event.

        Returns:
            (n_events,) between 0 and 2.
        """
        pt, phi = self.representation.momenta(particles.float())
        psi_true = self.representation.event_plane(events.float())
        q_x, q_y = layout.mean(pt * torch.cos(2 * phi)), layout.mean(pt * torch.sin(2 * phi))
        # cos 2(psi_reco - psi_true) without an angle: the projection of Q on the true axis.
        projection = q_x * torch.cos(2 * psi_true) + q_y * torch.sin(2 * psi_true)
        length = torch.sqrt(q_x**2 + q_y**2 + torch.finfo(torch.float32).tiny)
        return 1 - projection / length


COUNTS = ("particles", "passes")
"""What is counted beside them."""


class Sums:
    """What steps add up to, kept on the device so that nothing waits for it.

    Attributes:
        values: float64 numerators of TERMS, their denominators, then COUNTS.
    """

    LENGTH = 2 * len(TERMS) + len(COUNTS)

    def __init__(self, device: torch.device) -> None:
        """Nothing yet."""
        self.values = torch.zeros(self.LENGTH, dtype=torch.float64, device=device)


def means(values: Sequence[float]) -> dict[str, float]:
    """The mean of each of TERMS that anything entered, from Sums.values."""
    numerators, denominators = values[: len(TERMS)], values[len(TERMS) : 2 * len(TERMS)]
    return {
        name: numerator / denominator
        for name, numerator, denominator in zip(TERMS, numerators, denominators, strict=True)
        if denominator > 0
    }


@dataclass(frozen=True)
class Objective:
    """The loss as the options and the representation define it.

    Attributes:
        representation: between physical events and model space.
        event_key: noise of event vectors.
        particle_key: noise of particles.
        psi_weight: of L_psi; 0 leaves it out.
        autocast: makes the context of the precision that the network runs in.
    """

    representation: Representation
    event_key: NoiseKey
    particle_key: NoiseKey
    psi_weight: float = 0.0
    autocast: Callable[[], AbstractContextManager[None]] = nullcontext

    def add(self, model: Denoiser, step: Step, budget: Budget, sums: Sums, *, train: bool) -> None:
        """Add a step's losses to sums and, to train, their gradient to the weights'.

        The gradient is of the mean over the whole step of all processes, of which this one adds
        its part. Out of memory, the budget is halved and the step begun again.
        """
        counts = step.batch.n_particles
        while True:
            runs = list(runs_by_budget(step.batch.offsets, budget.particles))
            mine = torch.zeros_like(sums.values)
            try:
                for terms in self._passes(model, step, runs, mine.device, train=train):
                    mine[: 2 * len(TERMS)] += terms
                break
            except torch.OutOfMemoryError:
                model.zero_grad(set_to_none=True)
                budget.shrink(int(counts.max()))
        mine[2 * len(TERMS) :] = torch.tensor([int(counts.sum()), len(runs)])
        sums.values += mine

    def _passes(
        self, model: Denoiser, step: Step, runs: list[slice], device: torch.device, *, train: bool
    ) -> Iterator[Tensor]:
        batch = step.batch
        if not len(batch):
            return
        events, particles, weights, t, index = (
            torch.from_numpy(array).to(device, non_blocking=True)
            for array in (batch.events, batch.particles, batch.weights_or_ones, step.t, step.index)
        )
        offsets = torch.from_numpy(batch.offsets)
        z, x = self.representation.encode(events, particles, offsets)
        z_noise, x_noise = self.noise(batch, index, z.shape[1], x.shape[1], step.turn)
        psi = PlanePenalty(self.representation) if self.psi_weight else None
        whole = [step.event_weight, step.particle_weight, step.psi_weight]
        scale = [1.0, 1.0, self.psi_weight]
        with torch.set_grad_enabled(train):
            for run in runs:
                rows = slice(int(offsets[run.start]), int(offsets[run.stop]))
                with self.autocast():
                    parts = losses(
                        model,
                        z[run],
                        x[rows],
                        offsets[run.start : run.stop + 1] - rows.start,
                        weights[run],
                        t[run],
                        z_noise[run],
                        x_noise[rows],
                        psi=psi,
                    )
                means = [parts.event, parts.particle, parts.psi]
                if train:
                    loss = torch.stack(
                        [
                            factor / total * mean.numerator
                            for factor, total, mean in zip(scale, whole, means, strict=True)
                            if mean is not None and total > 0
                        ]
                    ).sum()
                    loss.backward()
                zero = weights.new_zeros(())
                yield torch.stack(
                    [zero if mean is None else mean.numerator.detach() for mean in means]
                    + [zero if mean is None else mean.denominator.detach() for mean in means]
                ).double()

    def noise(
        self, batch: EventBatch, index: Tensor, n_event: int, n_particle: int, turn: int
    ) -> tuple[Tensor, Tensor]:
        """Noise of event vectors and of particles, a function of event and turn alone."""
        counts = torch.from_numpy(batch.n_particles).to(index.device)
        total = int(batch.offsets[-1])
        event = torch.repeat_interleave(index, counts, output_size=total)
        starts = torch.from_numpy(batch.offsets[:-1]).to(index.device)
        first = torch.repeat_interleave(starts, counts, output_size=total)
        row = torch.arange(total, device=index.device) - first
        return (
            normals(self.event_key, index, torch.zeros_like(index), n_event, turn),
            normals(self.particle_key, event, row, n_particle, turn),
        )
