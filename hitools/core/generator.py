"""A trained model as an iterator of EventBatch: event vectors, hard particles, then all others.

Event k is a function of the seed and k alone: its noise is, and the network treats every event as
if it were alone. So neither the size of a block nor the number of processes shows in a sample
beyond rounding, and a part of a sample can be made without the rest. A hard particle is also a
choice between laws, which rounding turns where a random number lies within it of the border.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor

from hitools.core.batch import EventBatch, runs_by_budget
from hitools.core.budget import Budget, fitting
from hitools.core.diffusion.solvers import SOLVERS, Solver
from hitools.core.errors import InputError
from hitools.core.features import (
    EVENT_INDEX,
    SMALL,
    Float32Array,
    IntArray,
    particle_features,
)
from hitools.core.model.event_particles import EventParticles
from hitools.core.model.folder import ModelConfig
from hitools.core.model.sampling import Sampling
from hitools.core.nets import particle_lists, vector_branch
from hitools.core.nets.corrections import moved_to_sums
from hitools.core.nets.layout import Layout
from hitools.core.nets.networks import Network
from hitools.core.nets.rotary_net import RotaryNet
from hitools.core.noise import NoiseKey, normals
from hitools.core.representation.aligned import Aligned
from hitools.core.scaling import Mended
from hitools.core.selection import Selection

MAX_DRAWS: Final = 10_000
"""Event vectors drawn for one event until a selection gives up."""

MAX_VAIN_DRAWS: Final = 20_000
"""Event vectors drawn without any success until a selection gives up."""

_DRAWS_AT_ONCE: Final = 512
_BLOCK_PASSES: Final = 16
_BLOCK_EVENTS: Final = 4096
_BLOCK_GROWTH: Final = 4


class Generator:
    """Samples events.

    Attributes:
        mended: sampled values that had to be moved to where an event can have them, so far.
    """

    def __init__(
        self,
        model: Network,
        config: ModelConfig,
        sampling: Sampling,
        device: torch.device,
        *,
        budget: int | None = None,
        autocast: Callable[[], AbstractContextManager[None]] = nullcontext,
        select: Selection | None = None,
        like: Float32Array | None = None,
    ) -> None:
        """A generator on a device.

        Args:
            model: the network with its weights.
            config: what belongs to it.
            sampling: solver and seed.
            device: where to compute.
            budget: particles at once; None chooses by device.
            autocast: makes the context of the precision.
            select: event vectors are drawn until this holds.
            like: (n, 11) event vectors to use instead of drawing any, in turn.

        Raises:
            InputError: the model has no sums to correct, or only particles tell what is selected.
        """
        self.mended = Mended()
        self._model = model.to(device).eval()
        self._representation = config.representation
        self._whole_below = (
            config.representation.whole_below if isinstance(config.representation, Aligned) else 0
        )
        if select is not None and self._whole_below and "mean_phi" in select.names:
            raise InputError(
                f"--select {select.expression!r}: mean_phi of events below {self._whole_below} "
                "particles follows from particles, which are drawn later: cut it with hi-cat"
            )
        if sampling.corrections and not isinstance(config.representation, Aligned):
            raise InputError("corrections: 0 expected, as this model knows no sums of particles")
        self._first_velocity = config.first_velocity
        self._sampling = sampling
        self._device = device
        self._budget = Budget(budget, device)
        self._autocast = autocast
        self._select = select
        self._like = like
        mean_particles = config.data["n_particles"] / config.data["n_train"]
        self._block = int(
            np.clip(_BLOCK_PASSES * self._budget.particles / mean_particles, 1, _BLOCK_EVENTS)
        )

    def blocks(self, n_events: int) -> list[range]:
        """Numbers of the events to make together: one first, so that it is there soon."""
        blocks, start, size = [], 0, 1
        while start < n_events:
            blocks.append(range(start, min(start + size, n_events)))
            start += size
            size = min(_BLOCK_GROWTH * size, self._block)
        return blocks

    def sample(self, n_events: int) -> Iterator[EventBatch]:
        """Events 0..n_events-1 in order. Raises InputError where a selection finds nothing."""
        for block in self.blocks(n_events):
            yield self.make(block)

    @torch.no_grad()
    def make(self, numbers: range) -> EventBatch:
        """The events of these numbers."""
        index = np.arange(numbers.start, numbers.stop)
        if self._like is not None:
            events = self._like[index % len(self._like)]
        elif self._select is not None:
            events = self._draw_selected(index, self._select)
        else:
            events, n_mended = self.draw_vectors(index, np.zeros_like(index))
            self.mended += Mended(events=n_mended)
        return self._with_particles(index, events)

    # Event vectors -------------------------------------------------------------------------------

    @torch.no_grad()
    def draw_vectors(self, index: IntArray, draw: IntArray) -> tuple[Float32Array, int]:
        """Event vectors from the event branch alone.

        Args:
            index: (n,) numbers of the events.
            draw: (n,) which draw for that event; the first, 0, is the one without a selection.

        Returns:
            (n, 11) event vectors, and how many of them were mended.
        """
        seed, steps = self._sampling.seed, self._sampling.event_steps
        event, turn = (torch.from_numpy(one).to(self._device) for one in (index, draw))
        row = torch.zeros_like(event)
        key = NoiseKey.of(seed, "sampled event")
        law = self._model.vector_law if isinstance(self._model, RotaryNet) else None
        if law is not None:
            scores = law.drawn(normals(key, event, row, vector_branch.N_NOISE, turn))
            return self._representation.decode_events(scores)
        width = self._representation.n_event_features
        solver_key = NoiseKey.of(seed, "event solver")

        def velocity(z: Tensor, t: float) -> Tensor:
            with self._autocast():
                return self._model.event_velocity(z, z.new_tensor(t)).float()

        z = SOLVERS[self._sampling.solver].solve(
            velocity,
            normals(key, event, row, width, turn),
            steps,
            self._sampling.event_grid,
            lambda step: normals(solver_key, event, row, width, turn * steps + step),
        )
        return self._representation.decode_events(z)

    def _draw_selected(self, index: IntArray, select: Selection) -> Float32Array:
        """For each event the first draw that is selected."""
        chosen = np.zeros((len(index), len(EVENT_INDEX)), np.float32)
        missing = np.arange(len(index))
        draws = 0
        n_drawn = 0
        while missing.size:
            # The fewer events are missing, the more draws for each are made together.
            at_once = min(max(_DRAWS_AT_ONCE // len(missing), 1), MAX_DRAWS - draws)
            nothing_yet = len(missing) == len(index) and n_drawn >= MAX_VAIN_DRAWS
            if at_once == 0 or nothing_yet:
                raise InputError(
                    f"--select {select.expression!r}: none of {n_drawn} event vectors drawn "
                    f"for {len(missing)} events was selected"
                )
            which = np.repeat(missing, at_once)
            draw = np.tile(np.arange(draws, draws + at_once), len(missing))
            events, _ = self.draw_vectors(index[which], draw)
            good = select(events).reshape(len(missing), at_once)
            first = good.argmax(1)
            found = good[np.arange(len(missing)), first]
            rows = np.arange(len(missing))[found] * at_once + first[found]
            chosen[missing[found]] = events[rows]
            missing = missing[~found]
            draws += at_once
            n_drawn += len(which)
        return chosen

    # Particles -----------------------------------------------------------------------------------

    def _with_particles(self, index: IntArray, events: Float32Array) -> EventBatch:
        """Particles for these event vectors, longest events first through the network."""
        order, offsets = _largest_first(events)
        index, events, counts = index[order], events[order], np.diff(offsets)
        x = self.draw_particles(self.to_draw(index, events, offsets)).cpu()
        pt, eta, phi, mended = self._representation.decode_particles(x, events, counts)
        self.mended += mended
        pt, eta, phi = (values.astype(np.float32) for values in (pt, eta, phi))
        events = self._with_mean_phi(events, phi, offsets)
        particles = particle_features(pt, eta, phi, offsets, events)
        return EventBatch(events, particles, offsets).take(np.argsort(order))

    def _with_mean_phi(
        self, events: Float32Array, phi: Float32Array, offsets: IntArray
    ) -> Float32Array:
        """Events drawn as a whole know no direction of the laboratory: their particles say it."""
        counts = np.diff(offsets)
        follows = (counts > 0) & (counts < self._whole_below)
        event = np.repeat(np.arange(len(counts)), counts)
        mean = np.bincount(event, phi, len(counts)) / np.maximum(counts, 1)
        found = events.copy()
        column = EVENT_INDEX["mean_phi"]
        found[:, column] = np.where(follows, mean, events[:, column])
        return found

    @torch.no_grad()
    def first_velocities(self, numbers: range) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the network says of particles that are nothing but noise yet.

        Returns:
            Of the events that have particles to be denoised: what these are given, (n_events,
            n_given); how many particles there are in all, (n_events,); what the known ones add to
            the sums, (n_events, n_hard_sums); and the mean of the velocities at t = 1, (n_events,
            features).
        """
        index = np.arange(numbers.start, numbers.stop)
        events, _ = self.draw_vectors(index, np.zeros_like(index))
        order, offsets = _largest_first(events)
        all_of_them = self.to_draw(index[order], events[order], offsets)
        all_of_them = all_of_them[: all_of_them.n_open]

        def means(some: EventParticles) -> Tensor:
            return some.mean(self._network_velocity(some, self._noise(some), 1.0))

        found = self._noise(all_of_them)  # of no events: none
        if len(all_of_them):
            found = self._in_passes(means, all_of_them)
        return all_of_them.given, all_of_them.counts, all_of_them.hard_sums, found

    def to_draw(self, index: IntArray, events: Float32Array, offsets: IntArray) -> EventParticles:
        """What particles of these events are to be drawn, after their hard ones are."""
        scores = self._representation.encode_events(torch.from_numpy(events).to(self._device))
        number = torch.from_numpy(index).to(self._device)
        host_offsets = torch.from_numpy(offsets)
        known, n_known = self.draw_hard(number, scores, host_offsets.diff().to(self._device))
        return self.with_slices(number, scores, host_offsets, known, n_known)

    @torch.no_grad()
    def draw_hard(self, number: Tensor, scores: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Hard particles, where the model draws these before others.

        Args:
            number: (n_events,) of the events.
            scores: (n_events, n_event_features) of their vectors.
            counts: (n_events,) particles of each.

        Returns:
            (n_hard, columns) in model space, event by event, and how many each event has.
        """
        model = self._model
        if not isinstance(model, RotaryNet) or model.hard is None:
            columns = self._representation.n_particle_features
            return scores.new_zeros(0, columns), torch.zeros_like(counts)
        key = NoiseKey.of(self._sampling.seed, "sampled hard")
        return model.draw_hard(
            scores,
            counts,
            lambda some, rank: normals(
                key, number[some], torch.full_like(some, rank), particle_lists.N_NOISE
            ),
        )

    @torch.no_grad()
    def with_slices(
        self, number: Tensor, scores: Tensor, offsets: Tensor, known: Tensor, n_known: Tensor
    ) -> EventParticles:
        """What the other particles are drawn given: of models that draw slices, these too.

        Args:
            number: (n_events,) of the events.
            scores: (n_events, n_event_features) of their vectors.
            offsets: (n_events + 1,) int64 on the host.
            known: (n_hard, columns) their hard particles, see draw_hard.
            n_known: (n_events,) how many each has.
        """
        model, representation = self._model, self._representation
        counts = offsets.diff().to(scores.device)
        given, of_hard = scores, scores[:, :0]
        if isinstance(model, RotaryNet):
            event = torch.repeat_interleave(n_known, output_size=len(known))
            of_hard = model.representation.hard_sums(known, scores, event)
            coarse = self._slices(model, number, model.known_of_slices(scores, counts, of_hard))
            given = torch.cat([scores, coarse], dim=1)
        of_hard = of_hard[:, : representation.n_hard_sums]
        return EventParticles(number, given, offsets, counts, known, n_known, of_hard)

    @torch.no_grad()
    def draw_particles(self, events: EventParticles) -> Tensor:
        """(n_total, columns) particles in model space, of events with the largest first."""
        n_open = events.n_open
        parts = [
            self._in_passes(partial(self._solve, SOLVERS[solver], steps), events[some])
            for solver, steps, some in self._sampling.parts(events.counts[:n_open].cpu().numpy())
        ]
        return torch.cat([*parts, events[n_open:].known])

    def _slices(self, model: RotaryNet, number: Tensor, known: Tensor) -> Tensor:
        """(n_events, n_coarse) scores of the slices."""
        sampling = self._sampling
        width = self._representation.n_coarse_features
        row = torch.zeros_like(number)
        solver_key = NoiseKey.of(sampling.seed, "slice solver")

        def velocity(coarse: Tensor, t: float) -> Tensor:
            with self._autocast():
                return model.coarse_velocity(coarse, known.new_tensor(t), known).float()

        return SOLVERS[sampling.solver].solve(
            velocity,
            normals(NoiseKey.of(sampling.seed, "sampled slices"), number, row, width),
            sampling.coarse_steps,
            sampling.event_grid,
            lambda step: normals(solver_key, number, row, width, step),
        )

    def _in_passes(
        self, work: Callable[[EventParticles], Tensor], events: EventParticles
    ) -> Tensor:
        """What work makes of the events, put together, in passes within the budget."""
        results: list[Tensor] = []
        start = 0
        while start < len(events):
            offsets = events.offsets[start:].numpy()
            stop = start + next(runs_by_budget(offsets, self._budget.particles)).stop
            result = fitting(partial(work, events[start:stop]))
            if result is None:
                self._budget.shrink(int(offsets[1] - offsets[0]))
                continue
            results.append(result)
            start = stop
        return torch.cat(results)

    def _solve(self, solver: Solver, steps: int, some: EventParticles) -> Tensor:
        """(n_total, columns) particles in model space: those that were known, and samples."""
        sampling = self._sampling
        width = self._representation.n_particle_features
        solver_key = NoiseKey.of(sampling.seed, "particle solver")

        def velocity(x: Tensor, t: float) -> Tensor:
            if t == 1 and self._first_velocity is not None:
                first = self._first_velocity(some.given, some.counts, some.hard_sums)
                return some.spread(first)
            return self._network_velocity(some, x, t)

        drawn = solver.solve(
            velocity,
            self._noise(some),
            steps,
            sampling.grid,
            lambda step: normals(solver_key, some.event, some.row, width, step),
        )
        return self._finished(some.joined(drawn), some)

    def _finished(self, x: Tensor, some: EventParticles) -> Tensor:
        """Sampled particles with their spectra set right, then those of large events moved."""
        representation = self._representation
        if not isinstance(representation, Aligned):
            return x
        layout = Layout.from_offsets(some.offsets, x.device)
        n_particles = layout.spread(some.counts)
        x = representation.set_right(x.float(), n_particles)
        large = n_particles >= SMALL
        if not self._sampling.corrections or not large.any():
            return x
        moved = x
        for _ in range(self._sampling.corrections):
            moved = moved_to_sums(representation, moved, some.given, layout)
        return torch.where(large[:, None], moved, x)

    def _noise(self, some: EventParticles) -> Tensor:
        key = NoiseKey.of(self._sampling.seed, "sampled particles")
        return normals(key, some.event, some.row, self._representation.n_particle_features)

    def _network_velocity(self, some: EventParticles, x: Tensor, t: float) -> Tensor:
        with self._autocast():
            time = torch.tensor(t, device=self._device)
            velocity = self._model.particle_velocity(some.joined(x), time, some.given, some.offsets)
        return velocity.float()[some.to_draw]


def _largest_first(events: Float32Array) -> tuple[IntArray, IntArray]:
    """(n_events,) an order of event vectors; (n_events + 1,) offsets of their particles in it."""
    counts = np.rint(events[:, EVENT_INDEX["n_particles"]]).astype(np.int64)
    order = np.argsort(-counts, kind="stable")
    return order, np.concatenate([[0], np.cumsum(counts[order])])
