"""Several processes for one command, by Accelerate's own launcher.

The command line stays the same: the process that the user started launches the workers, waits for
them and ends with their status. A worker that has told its user what is wrong leaves its status in
a file; the launcher then ends the others, and keeps its own report of crashed children to itself.
"""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

import click

from hitools.cmd.common import EXIT_BAD_INPUT, EXIT_INTERRUPTED, explained
from hitools.core.errors import InputError, OthersError

_STATUS_FILE: Final = "HITOOLS_STATUS_FILE"
_CLOSED_PIPE: Final = 128 + signal.SIGPIPE
_PATIENCE: Final = 1.5
_PATIENCE_OF_FOLLOWERS: Final = 3.0
"""Seconds that a process waits for those that speak before it, see _end."""
_PATIENCE_AT_AN_END: Final = 5.0
"""Seconds that workers have to remove what is half written."""
_SET_PARENT_DEATH_SIGNAL: Final = 1
"""PR_SET_PDEATHSIG of Linux's prctl."""


def is_worker() -> bool:
    """Whether launch() started this process."""
    return _STATUS_FILE in os.environ


def launch(module: str, n_processes: int) -> NoReturn:
    """Run this very command line in n_processes workers, and end as they do.

    Args:
        module: of the command, e.g. "hitools.cmd.train".
        n_processes: on this machine.

    Raises:
        InputError: there are GPUs, but fewer.
    """
    _refuse_more_than_gpus(n_processes)
    with tempfile.TemporaryDirectory(prefix="hitools-") as folder:
        status_file = Path(folder) / "status"
        command = [
            *(sys.executable, "-m", "hitools.cmd.launching", "--multi_gpu"),
            *("--num_processes", str(n_processes), "--num_machines", "1"),
            *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
            *("--module", module, *sys.argv[1:]),
        ]
        launcher = subprocess.Popen(
            command,
            env=os.environ | {_STATUS_FILE: str(status_file)},
            start_new_session=True,  # an interrupt is for this process alone
        )
        try:
            status = launcher.wait()
        except BaseException:
            launcher.terminate()
            with suppress(subprocess.TimeoutExpired):
                launcher.wait(_PATIENCE_AT_AN_END)
            raise
        finally:
            launcher.kill()  # and with it the workers
            launcher.wait()
        if status_file.exists():
            status = int(status_file.read_text())
    if status == _CLOSED_PIPE:
        raise BrokenPipeError
    raise click.exceptions.Exit(status)


def _refuse_more_than_gpus(n_processes: int) -> None:
    import torch

    n_gpus = torch.cuda.device_count()
    if 0 < n_gpus < n_processes:
        raise InputError(f"--processes {n_processes}: this machine has {n_gpus} GPU")


def _signal_with_parent(number: signal.Signals) -> None:
    """Let the kernel send this process a signal when the one that started it ends, in any way."""
    with suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, number)


def _end_after_parent() -> None:
    """Let this process end soon after the one that started it: what is half written goes first.

    On a GPU it may wait for another process where Python hears no signal.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        time.sleep(_PATIENCE_AT_AN_END)
        os.kill(os.getpid(), signal.SIGKILL)

    _signal_with_parent(signal.SIGTERM)
    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def process_of_many() -> Iterator[None]:
    """What a command that may be one of several processes runs inside.

    A process that fails, whether alone or with all others, ends at once, without a word to the
    group that they are in: the others may be waiting for it where nothing wakes them. Its exit
    status makes the launcher end them.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if is_worker():
        _end_after_parent()
    try:
        yield
    except (click.exceptions.Exit, SystemExit):
        raise
    except (Exception, KeyboardInterrupt) as error:
        _end(error, is_first=os.environ.get("RANK") == "0")


def _end(error: Exception | KeyboardInterrupt, *, is_first: bool) -> NoReturn:
    """Say what is wrong, once for all processes that know of it, and end this one.

    The first process speaks at once, as the others may have the same error. Then comes whoever has
    one of its own, and last who only follows another; by then the launcher has ended most.
    """
    name = Path(sys.argv[0]).name
    if isinstance(error, KeyboardInterrupt | click.Abort):
        status, message, patience = EXIT_INTERRUPTED, "", 0.0
    elif isinstance(error, BrokenPipeError):
        status, message, patience = _CLOSED_PIPE, "", 0.0 if is_first else _PATIENCE_OF_FOLLOWERS
    elif isinstance(error, OthersError):
        status, message, patience = EXIT_BAD_INPUT, "", _PATIENCE_OF_FOLLOWERS
    else:
        # What nobody foresaw may come of waiting for a process that has ended, and can tell why.
        foreseen = isinstance(error, click.ClickException | InputError | OSError)
        status, message = EXIT_BAD_INPUT, f"{name}: {explained(error, name)}\n"
        first, later = (0.0, _PATIENCE) if foreseen else (_PATIENCE, _PATIENCE_OF_FOLLOWERS)
        patience = first if is_first else later
    time.sleep(patience)
    sys.stderr.write(message)
    sys.stderr.flush()
    if is_worker():
        Path(os.environ[_STATUS_FILE]).write_text(str(status))
    os._exit(status)


def main() -> None:
    """What launch() runs: Accelerate's launcher, ended with the process that started it."""
    import torch.distributed.run  # noqa: F401 (has loggers, that are to be silent)
    from accelerate.commands.launch import main as accelerate_launch
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    _signal_with_parent(signal.SIGKILL)
    for name in logging.root.manager.loggerDict:
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        accelerate_launch()
    except ChildFailedError:
        if not Path(os.environ[_STATUS_FILE]).exists():
            raise
    except SignalException as end:  # the workers have got it, too
        sys.exit(128 + int(end.sigval))


if __name__ == "__main__":
    main()
