"""The process that runs a generator: `python -m hitools.core.sources.foreman`, for pool.py.

Generators are one to a process, slow to start, and print to standard output, so each run gets a
process of its own. It starts the generator once and forks a child for every block of events; a
child re-seeds the generator from (seed, block), generates, sends its block and ends. A block is
therefore the same whoever makes it and whatever was made before. Blocks leave in order.

Standard input brings a pickled request and stays open; when it closes, the reader has gone and
everything here ends. Standard output takes messages (see messages.py).
The working folder is a temporary one, because generators drop tables where they are.
"""

import os
import pickle
import select
import shutil
import signal
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NoReturn, Protocol

from hitools.core.errors import InputError
from hitools.core.sources.generation import Block, GeneratorOptions
from hitools.core.sources.messages import (
    Failure,
    Message,
    Note,
    Ready,
    Request,
    forward,
    receive,
    send,
)

_AHEAD = 2
"""Blocks that may wait, beyond those being made, for an earlier one to finish."""
_PIECE = 1 << 20


class Generator(Protocol):
    """A generator that has started.

    Attributes:
        name: with version.
    """

    name: str

    def block(self, index: int) -> Block:
        """Make block `index`, as a function of the options and the index alone.

        It runs in a forked child that ends afterwards, so it may leave any state behind.
        """
        ...


@dataclass
class _Child:
    pid: int
    index: int
    received: bytearray = field(default_factory=bytearray)


def main() -> None:
    """Serve one request."""
    request = receive(os.fdopen(os.dup(0), "rb", buffering=0))
    if not isinstance(request, Request):
        return
    out = os.fdopen(os.dup(1), "wb")
    with tempfile.TemporaryFile() as log:
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
        try:
            try:
                generator = _start(request.options, out)
            except InputError as error:
                send(out, Failure(f"{error}{_last_complaint(log)}"))
                return
            except Exception as error:  # whatever it is, the user is told
                told = f"{request.options.generator}: {type(error).__name__}: {error}"
                send(out, Failure(told))
                return
            send(out, Ready(generator.name))
            _serve(generator, request.workers, out)
        except BrokenPipeError:
            pass
        # Whoever started us removes this folder, unless it was killed.
        shutil.rmtree(Path.cwd(), ignore_errors=True)


def _start(options: GeneratorOptions, out: IO[bytes]) -> Generator:
    def tell(text: str) -> None:
        send(out, Note(text))

    if options.generator == "urqmd":
        from hitools.core.sources.urqmd import UrQMD

        return UrQMD(options)
    from hitools.core.sources.angantyr import Angantyr

    return Angantyr(options, tell)


def _last_complaint(log: IO[bytes]) -> str:
    """What the generator itself said last, for the end of a message."""
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()
    complaints = [line for line in lines if any(s in line for s in ("Abort", "Error", "ERROR"))]
    return f" ({' '.join(complaints[-1].split()).rstrip(': ')})" if complaints else ""


def _serve(generator: Generator, workers: int, out: IO[bytes]) -> None:
    running: dict[int, _Child] = {}
    finished: dict[int, bytes] = {}
    started = sent = 0
    try:
        while True:
            while len(running) < workers and started < sent + workers + _AHEAD:
                descriptor, child = _fork(generator, started, running, out)
                running[descriptor] = child
                started += 1
            readable, _, _ = select.select([0, *running], [], [])
            if 0 in readable:
                return  # the reader has closed its end: it has enough, or is gone
            for descriptor in readable:
                child = running[descriptor]
                if piece := os.read(descriptor, _PIECE):
                    child.received += piece
                    continue
                del running[descriptor]
                os.close(descriptor)
                _, status = os.waitpid(child.pid, 0)
                if status != 0:
                    send(out, Failure(_death(child.index, os.waitstatus_to_exitcode(status))))
                    return
                finished[child.index] = bytes(child.received)
            while sent in finished:
                forward(out, finished.pop(sent))
                sent += 1
    finally:
        for child in running.values():
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)


def _death(index: int, code: int) -> str:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    return f"a worker process {how} while it made block {index} of the events"


def _fork(
    generator: Generator, index: int, running: dict[int, _Child], out: IO[bytes]
) -> tuple[int, _Child]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_child(generator, index, writing, [reading, *running, out.fileno()])
    os.close(writing)
    return reading, _Child(pid, index)


def _be_child(generator: Generator, index: int, writing: int, foreign: list[int]) -> NoReturn:
    """Make one block and end, without running any of the foreman's clean-up."""
    status = 1
    try:
        # A pipe's reader sees its end only when every copy of the writing end is closed.
        for descriptor in foreign:
            os.close(descriptor)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        with os.fdopen(writing, "wb") as stream:
            try:
                message: Message = generator.block(index)
            except InputError as error:
                message = Failure(str(error))
            except Exception as error:
                message = Failure(f"{generator.name}: {type(error).__name__}: {error}")
            pickle.dump(message, stream, pickle.HIGHEST_PROTOCOL)
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
