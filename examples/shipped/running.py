"""What make.py stands on: a clock that counts only running time, decisions that last, children."""

import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hitools.core.files import write_text

HELD = 999
"""Number of the held-out file; training files count from 0."""

TICK = 2.0
_GRACE = 60.0
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl


class MakingError(Exception):
    """A command failed, or the budget is too small; one line."""


class TooLittleTimeError(MakingError):
    """The budget is too small for a model."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a second make.py out of the folder; the lock is the kernel's and ends with us."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MakingError(f"{folder}: another make.sh works here") from None
        yield


class Record:
    """Decisions and results that outlive the process, in one small JSON file."""

    def __init__(self, path: Path) -> None:
        """Read what is there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock = threading.Lock()
        self._values: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, name: str, default: Any = None) -> Any:
        """What was recorded."""
        return self._values.get(name, default)

    def put(self, name: str, value: Any) -> Any:
        """Record it, whole or not at all."""
        with self._lock:
            self._values[name] = value
            self._write()
        return value

    def _write(self) -> None:
        write_text(self._path, json.dumps(self._values, indent=1) + "\n")

    def forget(self, *names: str) -> None:
        """Decide these anew the next time."""
        with self._lock:
            for name in names:
                self._values.pop(name, None)
            self._write()

    def decide(self, name: str, make: Callable[[], Any]) -> Any:
        """What was decided before, else decide now."""
        return self._values[name] if name in self._values else self.put(name, make())


class Clock:
    """Seconds that the command has run, over all its starts; what is not recorded is lost."""

    def __init__(self, record: Record) -> None:
        """Go on from what is recorded."""
        self._record = record
        self._before = float(record.get("seconds", 0.0))
        self._start = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self._thread.start()

    def used(self) -> float:
        """Seconds so far."""
        return self._before + time.monotonic() - self._start

    def _tick(self) -> None:
        while not self._done.wait(TICK):
            self._record.put("seconds", round(self.used(), 1))

    def stop(self) -> None:
        """Record the last seconds."""
        self._done.set()
        self._thread.join()
        self._record.put("seconds", round(self.used(), 1))


class Children:
    """Runs commands in the work folder, and ends them with this process."""

    def __init__(self, folder: Path, log: Path) -> None:
        """Commands run in `folder`; each is a line of the log."""
        self.folder = folder
        self._log = log
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()

    def start(self, words: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start one of hitools' commands, or python."""
        program = Path(sys.executable).with_name(words[0])
        if words[0] == "python":
            program = Path(sys.executable)
        path = str(program) if program.exists() else shutil.which(words[0])
        if path is None:
            raise MakingError(f"{words[0]}: not installed")
        self.say("$ " + " ".join(without_folders(words)))
        child = subprocess.Popen(
            [path, *words[1:]],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=_end_with_parent,  # noqa: PLW1509
        )
        with self._lock:
            self._running.add(child)
        return child

    def finish(self, child: subprocess.Popen[bytes], seconds: float | None = None) -> bool:
        """Wait; whether it ended by itself, or had to be interrupted after so many seconds.

        Raises MakingError, with its last words, where it fails.
        """
        try:
            _, errors = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.interrupt(child)
            return False
        self._forget(child)
        lines = errors.decode(errors="replace").splitlines()
        if child.returncode:
            raise MakingError(lines[-1] if lines else f"status {child.returncode}")
        return True

    def interrupt(self, child: subprocess.Popen[bytes]) -> None:
        """End it as Ctrl-C does, or, where that takes too long, at once."""
        child.send_signal(signal.SIGINT)  # nothing happens to one that has ended
        try:
            child.communicate(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
        self._forget(child)

    def _forget(self, child: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._running.discard(child)

    def run(self, words: Sequence[str], seconds: float | None = None) -> bool:
        """Start and finish."""
        return self.finish(self.start(words), seconds)

    def end(self) -> None:
        """Interrupt whatever still runs, and wait for it."""
        with self._lock:
            running = list(self._running)
        for child in running:
            child.send_signal(signal.SIGINT)
        for child in running:
            try:
                child.wait(_GRACE)
            except subprocess.TimeoutExpired:
                child.kill()

    def say(self, line: str) -> None:
        """To standard error and to the log."""
        print(line, file=sys.stderr, flush=True)
        with self._log.open("a") as log:
            log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {line}\n")


def _end_with_parent() -> None:
    """A killed make.py leaves nobody behind who holds a model's lock."""
    with suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)


class Factory:
    """Makes event files one after another while the training runs.

    Attributes:
        made: names of complete files, in order, with their numbers of events.
    """

    def __init__(self, children: Children, record: Record, workers: int, seed: int) -> None:
        """Seeds of the files follow from `seed` and their number."""
        self._children = children
        self._record = record
        self._workers = workers
        self._seed = seed
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self.failure: MakingError | None = None

    @property
    def made(self) -> dict[str, int]:
        """Of training events."""
        return dict(self._record.get("training files", {}))

    def make(self, name: str, n_events: int, number: int) -> float:
        """A file, unless it is there; the seconds it took."""
        if (self._children.folder / name).exists():
            return 0.0
        start = time.monotonic()
        words = ["hi-mc", "--system", "O-O", "--sqrt-s-nn", "5360", "-n", str(n_events)]
        words += ["-j", str(self._workers), "--seed", str(1000 * self._seed + number), "-q"]
        self._child = self._children.start([*words, "-o", name])
        self._children.finish(self._child)
        return time.monotonic() - start

    def add(self, name: str, n_events: int) -> None:
        """A complete file of training events."""
        self._record.put("training files", self.made | {name: n_events})

    def start(self, held: int, chunk: int, most: int) -> None:
        """In the background: held-out events, then training events in chunks until stop()."""
        self._thread = threading.Thread(target=self._work, args=(held, chunk, most), daemon=True)
        self._thread.start()

    def _work(self, held: int, chunk: int, most: int) -> None:
        try:
            self.make("held.h5", held, HELD)
            while not self._stop.is_set() and sum(self.made.values()) < most:
                number = len(self.made)
                name = f"train-{number}.h5"
                self.make(name, chunk, number)
                self.add(name, chunk)
        except MakingError as failure:
            if not self._stop.is_set():
                self.failure = failure

    def stop(self, late: Callable[[], bool]) -> None:
        """No more training events; the file that was begun is dropped.

        The held-out events have to be there, and, unless it is late, a second training file.

        Raises MakingError where the events could not be made.
        """
        if self._thread is None:
            return
        held = self._children.folder / "held.h5"
        while self._thread.is_alive() and not (held.exists() and (len(self.made) > 1 or late())):
            self._thread.join(0.2)
        self._stop.set()
        child = self._child
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGINT)
        self._thread.join()
        if self.failure is not None:
            raise self.failure


def without_folders(words: Sequence[str]) -> list[str]:
    """A command line for others: absolute paths by their last name."""
    return [Path(word).name if word.startswith("/") else word for word in words]


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))
