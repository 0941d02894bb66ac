"""Several processes for one command, by Accelerate's own launcher.

The command line stays the same: the process that the user started launches the workers, waits for
them and ends with their status. A worker that ends in an orderly way, with an error message or
without, leaves its status in a file and tells the launcher that all is well: the launcher's report
of crashed children is not for users.
"""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

import click

from hitools.cmd.common import EXIT_BAD_INPUT, say
from hitools.core.errors import InputError

_STATUS_FILE: Final = "HITOOLS_STATUS_FILE"
_CLOSED_PIPE: Final = 128 + signal.SIGPIPE
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


def _end_with_parent() -> None:
    """Let the kernel end this process when the one that started it ends, however that happens."""
    with suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


@contextmanager
def process_of_many() -> Iterator[None]:
    """What a command that may be one of several processes runs inside.

    Only the first process speaks, and none of them ends before it has.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if is_worker():
        _end_with_parent()
    is_first = os.environ.get("RANK") == "0"
    status = None
    try:
        yield
    except InputError as error:
        if is_first:
            say(" ".join(str(error).split()))
        status = EXIT_BAD_INPUT
    except BrokenPipeError:
        status = _CLOSED_PIPE
    if status is None:
        return
    if is_worker():
        if is_first:
            Path(os.environ[_STATUS_FILE]).write_text(str(status))
        status = 0
    elif not is_first:
        # The launcher ends all processes with the first one that fails.
        time.sleep(3)
    raise click.exceptions.Exit(status)


def main() -> None:
    """What launch() runs: Accelerate's launcher, ended with the process that started it."""
    from accelerate.commands.launch import main as accelerate_launch

    _end_with_parent()
    accelerate_launch()


if __name__ == "__main__":
    main()
