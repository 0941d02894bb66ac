"""Jets of a long run of events, by one process or by several, in order.

Neither interface of FastJet releases Python's lock, so that several cores need several processes.
A worker reads events on its standard input and writes jets on its standard output; when the reader
of the jets goes away, however that happens, the pipes close and the workers end.
"""

import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any, Final, cast

from hitools.core.batch import EventBatch
from hitools.core.compare.blocks import steady_blocks
from hitools.core.errors import InputError
from hitools.core.interrupts import interrupts_held
from hitools.core.observables.jets.definition import JetDefinition
from hitools.core.observables.jets.finder import find_jets
from hitools.core.observables.jets.table import JetBatch

_EVENTS_AT_ONCE: Final = 64
_PARTICLES_AT_ONCE: Final = 25_000
"""A piece of work: half a second or so, and with it the time to the first jet."""


def find_all(
    batches: Iterable[EventBatch], definition: JetDefinition, workers: int = 1
) -> Generator[JetBatch]:
    """The jets of all events in order, the same whatever the number of workers.

    A few pieces of work a worker are held at a time. Close the iterator to end the workers early.

    Raises InputError where a worker dies.
    """
    pieces = steady_blocks(batches, _PARTICLES_AT_ONCE, _EVENTS_AT_ONCE)
    if workers == 1:
        for piece in pieces:
            yield find_jets(piece, definition)
        return
    processes: list[_Worker] = []
    idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    threads = ThreadPoolExecutor(workers)

    def work(piece: EventBatch) -> JetBatch:
        worker = idle.get()
        try:
            return worker.find(piece)
        finally:
            idle.put(worker)

    waiting: deque[Future[JetBatch]] = deque()
    try:
        # Otherwise an interrupt could leave a process that nobody knows of, or half of them.
        with interrupts_held():
            for _ in range(workers):
                processes.append(_Worker(definition))
                idle.put(processes[-1])
        for piece in pieces:
            waiting.append(threads.submit(work, piece))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for process in processes:
            process.end()
        threads.shutdown(cancel_futures=True)


class _Worker:
    """A process that finds jets, one piece of work at a time."""

    def __init__(self, definition: JetDefinition) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hitools.core.observables.jets.workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # an interrupt at the terminal is for the command to handle
        )
        assert self._process.stdin
        assert self._process.stdout
        self._to: IO[bytes] = self._process.stdin
        self._from: IO[bytes] = self._process.stdout
        self._definition = definition

    def find(self, events: EventBatch) -> JetBatch:
        """The jets of these events. Raises InputError where the process is no more."""
        try:
            _send(self._to, (events, self._definition))
            found = _receive(self._from)
        except (OSError, ValueError):  # the pipe is closed, by its other end or by end()
            found = None
        if found is None:
            raise InputError(f"a worker process {self._last_words()} while it looked for jets")
        if isinstance(found, str):
            raise InputError(found)
        return cast("JetBatch", found)

    def _last_words(self) -> str:
        code = self._process.wait()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended ({code})"

    def end(self) -> None:
        """Whatever it was doing is not wanted any more."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._to, self._from):
            try:
                pipe.close()
            except OSError:  # unsent events of a worker that died
                continue


def _send(stream: IO[bytes], message: Any) -> None:
    payload = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    stream.write(struct.pack("<Q", len(payload)))
    stream.write(payload)
    stream.flush()


def _receive(stream: IO[bytes]) -> Any:
    """The next message, None at the end."""
    header = stream.read(8)
    if len(header) < 8:
        return None
    (length,) = struct.unpack("<Q", header)
    payload = stream.read(length)
    return pickle.loads(payload) if len(payload) == length else None


def main() -> None:
    """Serve until standard input ends."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nowhere, descriptor)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    while (request := _receive(requests)) is not None:
        events, definition = request
        try:
            answer: JetBatch | str = find_jets(events, definition)
        except Exception as error:
            answer = f"{type(error).__name__} while looking for jets: {error}"
        _send(answers, answer)


if __name__ == "__main__":
    main()
