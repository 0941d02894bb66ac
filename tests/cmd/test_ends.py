"""Signals that end a command leave nothing half written, whenever they come."""

import signal
import stat
import subprocess
import sys
import time

import pytest

from tests.conftest import script

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def status_of(number):
    """Ctrl-C has a status of its own; of the others the parent is told the truth."""
    return 130 if number == signal.SIGINT else -number


def feed(process, events, folder):
    """Send events and no end of them; what the command then makes in the folder."""
    process.stdin.write(events.read_bytes())
    process.stdin.flush()
    deadline = time.monotonic() + 60
    while not list(folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    (made,) = folder.iterdir()
    return made


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("number", ENDING)
def test_a_command_that_is_ended_leaves_no_half_file(tmp_path, oo_path, number, times):
    """A batch system sends SIGTERM at the end of its time, a lost terminal SIGHUP.

    Sometimes twice: to a process and, by way of the one that started it, again.
    """
    command = [script("hi-cat"), "-", "-q", "-o", "all.h5"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert feed(process, oo_path, tmp_path).suffix == ".part"
        for _ in range(times):
            process.send_signal(number)
        assert process.wait(60) == status_of(number)
        assert process.stderr.read() == b""
    assert list(tmp_path.iterdir()) == []


def test_redirected_events_are_made_where_nobody_else_reads_them_and_do_not_stay(
    tmp_path, oo_path, monkeypatch
):
    aside = tmp_path / "aside"
    aside.mkdir()
    monkeypatch.setenv("TMPDIR", str(aside))
    command = [script("hi-cat"), "-", "-q"]
    with (
        (tmp_path / "all.h5").open("wb") as out,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out) as process,
    ):
        assert stat.S_IMODE(feed(process, oo_path, aside).stat().st_mode) == 0o600
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM
    assert list(aside.iterdir()) == []


def test_nohup_outlasts_a_lost_terminal(tmp_path, oo_path):
    command = ["nohup", script("hi-cat"), "-", "-q", "-o", "all.h5"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=tmp_path) as process:
        feed(process, oo_path, tmp_path)
        process.send_signal(signal.SIGHUP)
        process.stdin.close()
        assert process.wait(60) == 0
    assert (tmp_path / "all.h5").exists()


TOY = """
import os
from hitools.cmd.common import command
from hitools.core.format.meta import EventMeta
from hitools.core.format.writer import open_writer

def end_it():
    os.kill(os.getpid(), {number:d})

class Fragile:
    def __del__(self):
        end_it()

@command("hi-toy")
def main():
    {prologue}
    with open_writer("toy.h5", EventMeta()):
        {body}
        import time
        time.sleep(60)

main()
"""


def run_toy(folder, number, *, body="pass", prologue="pass"):
    program = TOY.format(number=number, body=body, prologue=prologue)
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, timeout=60, check=False
    )


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_that_comes_inside_a_destructor_is_not_lost(tmp_path, number):
    """Python prints such an exception and goes on; imports are full of such places."""
    result = run_toy(tmp_path, number, body="Fragile()")
    assert (result.returncode, result.stdout, result.stderr) == (status_of(number), b"", b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("method", ["__init__", "write", "truncate"])
def test_a_signal_that_comes_while_hdf5_works_is_not_lost(tmp_path, number, method):
    """It calls Python to write; an exception there is printed, and half a file left."""
    result = run_toy(
        tmp_path,
        number,
        prologue=f"""
    import hitools.core.format.writing as writing
    true = writing._Sink.{method}
    def ended(self, *args):
        end_it()
        return true(self, *args)
    writing._Sink.{method} = ended
""",
        body="return",
    )
    assert (result.returncode, result.stdout, result.stderr) == (status_of(number), b"", b"")
    assert {path.name for path in tmp_path.iterdir()} <= {"toy.h5"}  # whole, where it was done


def test_a_worker_that_hears_no_signal_ends_after_the_one_that_started_it():
    """As one on a GPU that waits for a process which has ended."""
    worker = """
import signal, time
from hitools.cmd.launching import _end_after_parent
signal.signal(signal.SIGTERM, signal.SIG_IGN)
_end_after_parent()
print("begun", flush=True)
time.sleep(1000)
"""
    starter = f"""
import subprocess, sys
worker = subprocess.Popen([sys.executable, "-c", {worker!r}], stdout=subprocess.PIPE)
print(worker.stdout.readline().decode(), end="", flush=True)
"""
    result = subprocess.run(  # until the worker has closed standard error, too
        [sys.executable, "-c", starter], capture_output=True, timeout=60, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, b"begun\n", b"")
