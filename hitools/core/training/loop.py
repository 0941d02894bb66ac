"""The training loop: one for a CPU, a GPU, and many processes under Accelerate.

Every process works out the gradient of its part of a step; the parts are added over the processes,
and each then makes the same update. What is kept as the model is the running average of the weights
(EMA) with the lowest validation loss.
"""

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from hitools.core.budget import Budget
from hitools.core.errors import InputError
from hitools.core.model.folder import ModelFolder
from hitools.core.nets.networks import Network
from hitools.core.processes import from_first, same_in_all
from hitools.core.training import state
from hitools.core.training.feed import Feed, Prefetch, Step
from hitools.core.training.lion import Lion
from hitools.core.training.options import TrainingOptions
from hitools.core.training.schedule import decay_of_average, rate_at
from hitools.core.training.state import EpochSums, Progress
from hitools.core.training.step import COUNTS, LIKELIHOOD_WEIGHT, Objective, Sums, means

GPU_CHECK_STEPS: Final = 10
"""A GPU runs ahead of the program, which waits for it only this often."""


@dataclass(frozen=True)
class Report:
    """Where a training stands.

    Attributes:
        step: optimiser steps done.
        loss: mean over the epoch so far.
        events_per_s: of all processes, over the epoch so far.
        line: of metrics.jsonl where an epoch has just ended.
    """

    step: int
    loss: float
    events_per_s: float
    line: dict[str, Any] | None = None


@dataclass(frozen=True)
class Plan:
    """What a loop works with.

    Attributes:
        options: of the training.
        total_steps: optimiser steps in all.
        feed: of the training events.
        validation: makes the steps that the validation loss is taken over, this process's part.
        objective: for training.
        validation_objective: the same with noise of its own that does not change with the epoch.
    """

    options: TrainingOptions
    total_steps: int
    feed: Feed
    validation: Callable[[], Iterable[Step]]
    objective: Objective
    validation_objective: Objective


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """On a CPU the same operations give the same bits while the block runs."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(before or device.type == "cpu")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def make_optimiser(options: TrainingOptions, weights: list[Tensor]) -> Optimizer:
    """The optimiser of these options."""
    if options.optimiser == "lion":
        return Lion(weights, options.rate, options.betas, options.weight_decay)
    return torch.optim.AdamW(
        weights, options.rate, options.betas, weight_decay=options.weight_decay, foreach=True
    )


def _trained(options: TrainingOptions, model: Network) -> list[Tensor]:
    """The weights that are trained."""
    alone: dict[str, list[nn.Module]] = {
        "hard": model.hard_branch(),
        "vectors": [model.event],
        "whole": model.whole_branch(),
    }
    if options.branch in alone:
        return [weight for part in alone[options.branch] for weight in part.parameters()]
    of_events = {id(weight) for part in model.event_branch() for weight in part.parameters()}
    wanted = {"both": (True, False), "event": (True,), "particles": (False,)}[options.branch]
    return [weight for weight in model.parameters() if (id(weight) in of_events) in wanted]


class Trainer:
    """A run from the start, or after resume() from its last state, to its last step."""

    def __init__(
        self, plan: Plan, model: Network, folder: ModelFolder, accelerator: Accelerator
    ) -> None:
        """The model brings its initial weights."""
        device = accelerator.device
        self._plan = plan
        self._folder = folder
        self._accelerator = accelerator
        same_in_all(accelerator, model.to(device).state_dict().values())
        # Moved after it was copied: recurrent layers put their weights together when moved.
        self._average = copy.deepcopy(model).requires_grad_(False).to(device)
        self._model = model
        self._weights = _trained(plan.options, self._model)
        self._averages = _trained(plan.options, self._average)
        self._model.requires_grad_(False)
        for weight in self._weights:
            weight.requires_grad_(True)
        self._optimiser = make_optimiser(plan.options, self._weights)
        if plan.options.compile:
            from hitools.core.nets.compiling import compile_network

            compile_network(self._model)
        self._budget = Budget(plan.options.budget, device)
        self._check_every = 1 if device.type == "cpu" else GPU_CHECK_STEPS
        self._progress = Progress()
        self._reset_sums()

    def run(self, report: Callable[[Report], None]) -> None:
        """Train to the end; report is called now and then.

        Raises:
            InputError: the loss is no longer finite, or a stream ended early. The folder holds
                the best weights and the last good state.
        """
        with reproducible(self._accelerator.device):
            if self._progress.step >= self._plan.total_steps:
                return
            prefetch = Prefetch(self._plan.feed.steps(self._progress.step, self._plan.total_steps))
            try:
                self._steps(prefetch, report)
            finally:
                prefetch.close()

    def _steps(self, prefetch: Prefetch, report: Callable[[Report], None]) -> None:
        progress, plan = self._progress, self._plan
        last_save = start = time.monotonic()
        waited = 0.0
        for step in prefetch:
            self._update(step)
            progress.step += 1
            ends_epoch = (
                progress.step % plan.feed.steps_per_epoch == 0 or progress.step == plan.total_steps
            )
            if progress.step % self._check_every and not ends_epoch:
                continue
            self._read_sums()
            now = time.monotonic()
            progress.epoch.seconds += now - start
            progress.seconds += now - start
            progress.epoch.waited += prefetch.waited - waited
            start, waited = now, prefetch.waited
            line = self._end_epoch() if ends_epoch else None
            start = time.monotonic()
            if ends_epoch or start - last_save >= plan.options.save_seconds:
                self._save()
                last_save = time.monotonic()
            self._report(report, line)
        if progress.step < plan.total_steps:
            if progress.epoch.steps:
                self._end_epoch()
            self._save()
            raise InputError(
                f"the stream of events ended after {progress.step} of {plan.total_steps} steps; "
                f"{self._folder.path} holds the model as it was then"
            )

    # One step ----------------------------------------------------------------------------------

    def _update(self, step: Step) -> None:
        options, progress = self._plan.options, self._progress
        steps_per_epoch = self._plan.feed.steps_per_epoch
        self._optimiser.zero_grad(set_to_none=True)
        self._plan.objective.add(self._model, step, self._budget, self._sums, train=True)
        self._add_gradients()
        norm = torch.nn.utils.clip_grad_norm_(self._weights, options.clip, foreach=True)
        self._gradient += norm
        for group in self._optimiser.param_groups:
            group["lr"] = rate_at(
                progress.step,
                options.rate,
                round(options.warmup_epochs * steps_per_epoch),
                self._plan.total_steps,
            )
        self._optimiser.step()
        decay = decay_of_average(options.ema, self._plan.total_steps)
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, self._weights, 1 - decay)
        progress.epoch.steps += 1
        progress.epoch.events += step.n_events_of_all

    def _add_gradients(self) -> None:
        """Sum over the processes; a weight that had no part in the loss has gradient 0."""
        for weight in self._weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        if self._accelerator.num_processes == 1:
            return
        gradients = [weight.grad for weight in self._weights if weight.grad is not None]
        flat = self._accelerator.reduce(torch.cat([one.flatten() for one in gradients]), "sum")
        pieces = flat.split([one.numel() for one in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))

    # Epochs ------------------------------------------------------------------------------------

    def _reset_sums(self) -> None:
        device = self._accelerator.device
        self._sums = Sums(device)
        self._gradient = torch.zeros((), device=device)

    def _read_sums(self) -> None:
        """Move what the devices added up into the progress; raises InputError on NaN."""
        epoch = self._progress.epoch
        sums = self._accelerator.reduce(self._sums.values, "sum").tolist()
        gradient = float(self._gradient)
        if not all(map(math.isfinite, [*sums, gradient])):
            self._diverged()
        epoch.sums = [a + b for a, b in zip(epoch.sums, sums, strict=True)]
        epoch.gradient += gradient
        self._reset_sums()

    def _diverged(self) -> None:
        progress = self._progress
        kept = "no epoch was complete, so no weights are kept"
        if progress.history:
            best = min(progress.history, key=lambda line: line["validation"]["total"])
            kept = f"the weights of epoch {best['epoch']} are kept"
        raise InputError(
            f"{self._folder.path}: the loss is no longer finite at step {progress.step}; {kept}. "
            "A lower --rate, or --precision float32, in another folder may help"
        )

    def _total(self, parts: dict[str, float]) -> float:
        """Of all that is drawn, as far as it is shown: what epochs are compared by."""
        errors = sum(parts.get(name, 0.0) for name in ("event", "particle"))
        likelihoods = sum(parts.get(name, 0.0) for name in ("hard", "vectors", "whole"))
        return errors + LIKELIHOOD_WEIGHT * likelihoods

    def _validate(self) -> dict[str, float]:
        sums = Sums(self._accelerator.device)
        for step in self._plan.validation():
            self._plan.validation_objective.add(
                self._average, step, self._budget, sums, train=False
            )
        return means(self._accelerator.reduce(sums.values, "sum").tolist())

    def _end_epoch(self) -> dict[str, Any]:
        """Validate, keep the weights where they are the best so far, write a line of metrics."""
        progress, epoch = self._progress, self._progress.epoch
        validation = self._validate()
        total = self._total(validation)
        if not math.isfinite(total):
            self._diverged()
        best = progress.best is None or total < progress.best
        training = means(epoch.sums)
        particles, n_passes = epoch.sums[-len(COUNTS) :]
        line = {
            "epoch": len(progress.history) + 1,
            "step": progress.step,
            "training": training | {"total": self._total(training)},
            "validation": validation | {"total": total},
            "best": best,
            "rate": self._optimiser.param_groups[0]["lr"],
            "gradient_norm": epoch.gradient / epoch.steps,
            "seconds": progress.seconds,
            "events_per_s": epoch.events / max(epoch.seconds, 1e-9),
            "particles_per_s": particles / max(epoch.seconds, 1e-9),
            "waiting_fraction": epoch.waited / max(epoch.seconds, 1e-9),
            "passes_per_step": n_passes / epoch.steps,
            "budget": self._budget.particles,
        }
        if self._accelerator.device.type == "cuda":
            line["gpu_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
        progress.history.append(line)
        progress.epoch = EpochSums()
        if best:
            progress.best = total
            if self._accelerator.is_main_process:
                self._folder.write_weights(self._average.state_dict())
        return line

    def _report(self, report: Callable[[Report], None], line: dict[str, Any] | None) -> None:
        epoch = self._progress.epoch
        if line is not None:
            loss, speed = line["training"]["total"], line["events_per_s"]
        else:
            loss = self._total(means(epoch.sums))
            speed = epoch.events / max(epoch.seconds, 1e-9)
        report(Report(self._progress.step, loss, speed, line))

    # State -------------------------------------------------------------------------------------

    def _save(self) -> None:
        if not self._accelerator.is_main_process:
            return
        tensors = state.collect(self._model, self._average, self._optimiser)
        self._folder.write_state(tensors, self._progress.to_dict())
        self._folder.write_metrics(self._progress.history)

    def resume(self) -> int:
        """Go on from the state in the folder, where there is one: the steps done so far.

        All processes from what the first one read: on a file system of many nodes the others may
        still see the file before it.
        """
        found = from_first(self._accelerator, self._folder.read_state)
        if found is not None:
            tensors, progress = found
            state.restore(tensors, self._model, self._average, self._optimiser)
            self._progress = Progress.from_dict(progress)
        return self._progress.step
