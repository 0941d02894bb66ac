"""Events of a generator, made by several processes and handed out in order.

    with Production(options, n_events=20_000, workers=2) as production:
        for batch in production: ...

The events are the same whatever the number of workers, and a longer run begins with the events
of a shorter one. The generator lives in a process of its own (see foreman.py).
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import IO, Final, Self

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.sources.generation import Block, GeneratorOptions
from hitools.core.sources.messages import Failure, Note, Ready, Request, receive, send

_PATIENCE: Final = 10_000
"""Events without a particle, and none with one, before the selection is called impossible."""


def _ignore(_: str) -> None:
    pass


class Production:
    """An iterator of EventBatch over exactly n_events events; a context manager.

    Attributes:
        name: the generator with its version.
        n_made: events handed out so far.
        n_generated: events generated up to the last one handed out; those without a particle in
            the selection were left out.
    """

    def __init__(
        self,
        options: GeneratorOptions,
        n_events: int,
        workers: int = 1,
        tell: Callable[[str], None] = _ignore,
    ) -> None:
        """Start the generator, which takes a second to a minute.

        Args:
            options: what to generate.
            n_events: how many events with at least one particle.
            workers: processes that generate.
            tell: called with a sentence when something takes long.

        Raises:
            InputError: the generator is not installed, does not know a setting or a beam, or
                does not start.
        """
        self.n_made = 0
        self.n_generated = 0
        self._n_events = n_events
        self._generator = options.generator
        self._selection = options.selection
        self._folder = tempfile.TemporaryDirectory(prefix="hitools-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hitools.core.sources.foreman"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self._folder.name,
            process_group=0,  # an interrupt at the terminal is for us to handle
        )
        assert self._process.stdin
        assert self._process.stdout
        self._to: IO[bytes] = self._process.stdin
        self._from: IO[bytes] = self._process.stdout
        try:
            with suppress(BrokenPipeError):  # it died already; why is told below
                send(self._to, Request(options, workers))
            self.name = self._await_ready(tell)
        except BaseException:
            self.close()
            raise

    def _await_ready(self, tell: Callable[[str], None]) -> str:
        while True:
            match receive(self._from):
                case Note(text):
                    tell(text)
                case Ready(name):
                    return name
                case Failure(text):
                    raise InputError(text)
                case _:
                    raise InputError(f"{self._generator}: did not start: {self._last_words()}")

    def __iter__(self) -> Iterator[EventBatch]:
        """The batches, block by block.

        Raises InputError where a worker dies or the generator gives up.
        """
        while self.n_made < self._n_events:
            match receive(self._from):
                case Block(batch, position, n_generated):
                    part = batch[: self._n_events - self.n_made]
                    self.n_made += len(part)
                    if self.n_made < self._n_events:
                        self.n_generated += n_generated
                    else:
                        self.n_generated += int(position[len(part) - 1]) + 1
                    if len(part):
                        yield part
                    elif self.n_made == 0 and self.n_generated >= _PATIENCE:
                        raise InputError(
                            f"none of {self.n_generated} events has a particle that is "
                            f"{self._selection}"
                        )
                case Failure(text):
                    after = f" (after {self.n_made} events)" if self.n_made else ""
                    raise InputError(f"{text}{after}")
                case _:
                    raise InputError(
                        f"{self._generator}: {self._last_words()} after {self.n_made} events"
                    )

    def _last_words(self) -> str:
        """Why the foreman ended by itself; its workers are ended, too."""
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        self.close()
        code = self._process.wait()
        if code < 0:
            return f"its process was killed by {signal.Signals(-code).name}"
        return f"its process ended with status {code}"

    def close(self) -> None:
        """End the generator and all its workers."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for stream in (self._to, self._from):
            with suppress(BrokenPipeError):
                stream.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        """Enter; the generator has started."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()
