"""Steps for the training loop: which events, in which order, read ahead of their use.

A file gives every event once an epoch in random order; a stream gives fresh events until told to
stop. Both say of every step what the whole of it adds up to, so that a process that holds a part of
it divides by the right numbers.
"""

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import torch

from hitools.core.batch import EventBatch
from hitools.core.diffusion.objective import PSI_LATEST_TIME
from hitools.core.features import Float32Array, IntArray
from hitools.core.noise import NoiseKey, uniforms
from hitools.core.symmetry import orientations
from hitools.core.training.batching import epoch_order, share_of
from hitools.core.training.data import TrainingData
from hitools.core.training.resident import Events, ResidentEvents, StepEvents, chosen
from hitools.core.training.times import ParticleTimes

STEPS_AHEAD: Final = 3


@dataclass(frozen=True)
class Step:
    """One process's part of an optimiser step.

    Attributes:
        batch: its events, longest first; their particles are packed, or on the device already.
        index: (n_events,) number of each event among all, which its noise follows from.
        turn: epoch, so that an event gets other noise every time.
        t: (n_events,) diffusion times of event vectors.
        particle_t: (n_events,) of their particles.
        n_events_of_all: events of the whole step, all processes.
        event_weight: sum of their weights.
        particle_weight: the same over their particles.
        psi_weight: the same over those events with particle_t < 0.5.
    """

    batch: StepEvents
    index: IntArray
    turn: int
    t: Float32Array
    particle_t: Float32Array
    n_events_of_all: int
    event_weight: float
    particle_weight: float
    psi_weight: float


class Feed(Protocol):
    """Where the loop takes its steps from.

    Attributes:
        steps_per_epoch: optimiser steps between two validations.
    """

    steps_per_epoch: int

    def steps(self, first: int, stop: int) -> Iterator[Step]:
        """The steps first..stop-1."""


@dataclass(frozen=True)
class Sharing:
    """How steps are shared and seeded.

    Attributes:
        batch: events of a step, of all processes together.
        process: number of this process.
        n_processes: of how many.
        time_key: stream of the diffusion times.
        symmetry_key: stream of the turns and reflections of events; None leaves them as they are.
        mirror_eta: whether eta may be mirrored.
        particle_times: times of particles from those of their events; None leaves them the same.
    """

    batch: int
    process: int
    n_processes: int
    time_key: NoiseKey
    symmetry_key: NoiseKey | None = None
    mirror_eta: bool = False
    particle_times: ParticleTimes | None = None

    def step(self, events: Events, rows: IntArray, index: IntArray, turn: int) -> Step:
        """This process's part of the step of these rows of events."""
        host = events.host if isinstance(events, ResidentEvents) else events
        weights = host.weights_or_ones[rows].astype(np.float64)
        n_particles = host.n_particles[rows]
        t = uniforms(self.time_key, torch.from_numpy(index), turn).numpy()
        particle_t = self.particle_times(t, n_particles) if self.particle_times else t
        mine = share_of(n_particles, self.process, self.n_processes)
        orientation = None
        if self.symmetry_key is not None:
            numbers = uniforms(self.symmetry_key, torch.from_numpy(index[mine]), turn)
            orientation = orientations(numbers.numpy(), mirror_eta=self.mirror_eta)
        return Step(
            batch=chosen(events, rows[mine], orientation),
            index=index[mine],
            turn=turn,
            t=t[mine],
            particle_t=particle_t[mine],
            n_events_of_all=len(rows),
            event_weight=float(weights.sum()),
            particle_weight=float((weights * n_particles).sum()),
            psi_weight=float(weights[particle_t < PSI_LATEST_TIME].sum()),
        )


class FileFeed:
    """Epochs over events that are at hand."""

    def __init__(
        self, data: TrainingData, sharing: Sharing, seed: int, events: Events | None = None
    ) -> None:
        """A step takes sharing.batch events, or all where there are fewer.

        Args:
            data: the events and which of them to train on.
            sharing: how steps are made.
            seed: of the order.
            events: those of data, where they are not to be taken from there.
        """
        self._events = data.events if events is None else events
        self._train = data.train
        self._sharing = sharing
        self._seed = seed
        self._batch = min(sharing.batch, len(data.train))
        self.steps_per_epoch = len(data.train) // self._batch

    def steps(self, first: int, stop: int) -> Iterator[Step]:
        """See Feed. The events that do not fill a last step wait for another epoch's order."""
        epoch = -1
        for step in range(first, stop):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = epoch_order(len(self._train), self._seed, epoch)
            start = step % self.steps_per_epoch * self._batch
            rows = self._train[order[start : start + self._batch]]
            yield self._sharing.step(self._events, rows, rows, epoch)


class StreamFeed:
    """Fresh events, each used once."""

    def __init__(
        self, batches: Iterable[EventBatch], sharing: Sharing, steps_per_epoch: int
    ) -> None:
        """Events from batches, in their order."""
        self._batches = batches
        self._sharing = sharing
        self.steps_per_epoch = steps_per_epoch

    def steps(self, first: int, stop: int) -> Iterator[Step]:
        """See Feed. Ends early where the stream does."""
        waiting = EventBatch.empty()
        source = iter(self._batches)
        for step in range(first, stop):
            while len(waiting) < self._sharing.batch:
                more = next(source, None)
                if more is None:
                    return
                more = more.take(more.n_particles > 0)
                waiting = EventBatch.concatenate([waiting, more])
            rows = np.arange(self._sharing.batch)
            yield self._sharing.step(waiting, rows, step * self._sharing.batch + rows, 0)
            waiting = waiting[self._sharing.batch :]


class Prefetch:
    """Steps made ahead in a thread, while the network works on the ones before.

    Attributes:
        waited: seconds that next() had to wait so far.
    """

    def __init__(self, steps: Iterator[Step]) -> None:
        """Begin at once."""
        self.waited = 0.0
        self._steps = steps
        self._queue: queue.Queue[Step | BaseException | None] = queue.Queue(STEPS_AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fill, daemon=True)
        self._thread.start()

    def _fill(self) -> None:
        try:
            for step in self._steps:
                if not self._put(step):
                    return
            self._put(None)
        except BaseException as error:  # raised again where the step is taken
            self._put(error)

    def _put(self, item: Step | BaseException | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def __iter__(self) -> Iterator[Step]:
        """The steps in order; an exception of the thread is raised here."""
        while True:
            start = time.perf_counter()
            item = self._queue.get()
            self.waited += time.perf_counter() - start
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        """Stop reading."""
        self._stopped.set()
        self._thread.join(timeout=1)  # it may be waiting for a pipe: it is a daemon
