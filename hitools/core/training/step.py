"""The loss of one process's part of a step, and its gradient, pass by pass within the budget.

Used alike for training and for validation: one objective, called twice.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from hitools.core.batch import runs_by_budget
from hitools.core.budget import Budget, fitting
from hitools.core.diffusion.objective import PsiLoss, Shown, WeightedMean, losses
from hitools.core.nets.networks import Network
from hitools.core.noise import NoiseKey, normals
from hitools.core.scaling import Representation
from hitools.core.training.feed import Step
from hitools.core.training.resident import StepEvents, tensors

TERMS = ("event", "particle", "psi", "sums", "hard", "vectors", "whole")
"""Parts of the loss, in the order of the sums below."""


LIKELIHOOD_WEIGHT = 0.1
"""Of the likelihoods of an event's hard particles, a sum over some four, of its vector, a sum over
eight numbers, and of all particles of a small event, beside mean squares."""

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
        sums_weight: of the loss on the sums of particles; 0 leaves it out.
        hardness: how much more hard particles weigh; see objective.losses.
        evenness: how much more particles of small events weigh, likewise.
        event_times: diffusion times at which each event vector is shown.
        shown: what is shown of events.
        autocast: makes the context of the precision that the network runs in.
    """

    representation: Representation
    event_key: NoiseKey
    particle_key: NoiseKey
    psi_weight: float = 0.0
    sums_weight: float = 0.0
    hardness: float = 0.0
    evenness: float = 0.0
    event_times: int = 1
    shown: Shown = "all"
    autocast: Callable[[], AbstractContextManager[None]] = nullcontext

    def add(self, model: Network, step: Step, budget: Budget, sums: Sums, *, train: bool) -> None:
        """Add a step's losses to sums and, to train, their gradient to the weights'.

        The gradient is of the mean over the whole step of all processes, of which this one adds
        its part. Out of memory, the budget is halved and the step begun again.
        """
        counts = step.batch.n_particles
        device = sums.values.device
        while True:
            runs = self._runs(step, budget)
            with torch.set_grad_enabled(train):
                terms = fitting(partial(self._passes, model, step, runs, device, train=train))
            if terms is not None:
                break
            model.zero_grad(set_to_none=True)
            budget.shrink(int(counts.max()))
        sums.values[: 2 * len(TERMS)] += terms
        sums.values[2 * len(TERMS) :] += terms.new_tensor([int(counts.sum()), len(runs)])

    def _runs(self, step: Step, budget: Budget) -> list[slice]:
        """The events of each pass: event vectors alone go through the network together."""
        if self.shown == "all" or not step.batch.n_particles.size:
            return list(runs_by_budget(step.batch.offsets, budget.particles))
        return [slice(0, step.batch.n_particles.size)]

    def _passes(
        self, model: Network, step: Step, runs: list[slice], device: torch.device, *, train: bool
    ) -> Tensor:
        """(14,) numerators of TERMS, then their denominators, over all passes."""
        batch = step.batch
        total = torch.zeros(2 * len(TERMS), dtype=torch.float64, device=device)
        if not runs:
            return total
        events, particles = tensors(batch, device)
        weights, t, particle_t, index = (
            torch.from_numpy(array).to(device, non_blocking=True)
            for array in (batch.weights_or_ones, step.t, step.particle_t, step.index)
        )
        offsets = torch.from_numpy(batch.offsets)
        representation = self.representation
        if self.shown == "vectors":
            z, x = representation.encode_events(events), particles[:, :0]
        else:
            z, x = representation.encode(events, particles, offsets)
        n_columns = representation.n_particle_features if self.shown == "all" else 0
        z_noise, x_noise = self.noise(batch, index, z.shape[1], n_columns, step.turn)
        psi = None
        if self.psi_weight:
            psi = PsiLoss(representation.momenta, representation.event_plane)
        whole = [
            step.event_weight,
            step.particle_weight,
            step.psi_weight,
            step.particle_weight if self.sums_weight else 0.0,
            *[step.event_weight] * 3,
        ]
        scale = [1.0, 1.0, self.psi_weight, self.sums_weight, *[LIKELIHOOD_WEIGHT] * 3]
        nothing = WeightedMean(weights.new_zeros(()), weights.new_zeros(()))
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
                    z_noise[:, run],
                    x_noise[rows],
                    particle_t[run],
                    shown=self.shown,
                    psi=psi,
                    with_sums=self.sums_weight > 0,
                    hardness=self.hardness,
                    evenness=self.evenness,
                )
            means = [getattr(parts, term) or nothing for term in TERMS]
            numerators = torch.stack([mean.numerator for mean in means])
            if train:
                factors = [a / b if b > 0 else 0.0 for a, b in zip(scale, whole, strict=True)]
                (numerators * numerators.new_tensor(factors)).sum().backward()
            denominators = torch.stack([mean.denominator for mean in means])
            total += torch.cat([numerators.detach(), denominators]).double()
        return total

    def noise(
        self, batch: StepEvents, index: Tensor, n_event: int, n_particle: int, turn: int
    ) -> tuple[Tensor, Tensor]:
        """Noise of event vectors and of particles, a function of event and turn alone.

        Returns:
            (event_times, n_events, n_event) and (n_total, n_particle).
        """
        counts = torch.from_numpy(batch.n_particles).to(index.device)
        total = int(batch.offsets[-1])
        event = torch.repeat_interleave(index, counts, output_size=total)
        starts = torch.from_numpy(batch.offsets[:-1]).to(index.device)
        first = torch.repeat_interleave(starts, counts, output_size=total)
        row = torch.arange(total, device=index.device) - first
        return (
            torch.stack(
                [
                    normals(self.event_key, index, torch.full_like(index, time), n_event, turn)
                    for time in range(self.event_times)
                ]
            ),
            normals(self.particle_key, event, row, n_particle, turn),
        )
