"""What every command keeps: help, version, messages, exit status, and the ends of pipes.

Real commands in real pipes; DESIGN's command contract is what is asserted.
"""

import importlib.metadata
import json
import os
import pty
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from hitools import __version__
from tests.conftest import SCRIPTS, assert_one_line_error, read_all, script

COMMANDS = sorted(
    entry.name
    for entry in importlib.metadata.entry_points(group="console_scripts")
    if entry.value.startswith("hitools.")
)


def test_all_commands_are_installed():
    assert {"hi-cat", "hi-info", "hi-mc", "hi-prep"} <= set(COMMANDS)


def test_the_readme_tells_what_each_command_does():
    lines = (Path(__file__).parents[2] / "README.md").read_text().splitlines()
    assert sorted(line.split("`")[1] for line in lines if line.startswith("| `hi-")) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_help_answers_at_once(run, name):
    """0.3 s of processor time, the least of three: wall time would measure the machine's load."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = run(name, "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert result.returncode == 0
        assert result.stderr == b""
        assert f"Usage: {name}".encode() in result.stdout
    assert min(seconds) < 0.3


@pytest.mark.parametrize("name", COMMANDS)
def test_version_is_that_of_the_package(run, name):
    result = run(name, "--version")
    assert result.stdout.decode() == f"{name} {__version__}\n"
    assert result.returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_one_line_and_status_2(run, name):
    assert_one_line_error(run(name, "--no-such-option"), name, "--no-such-option")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_man_page_with_its_options(run, name):
    page = Path(__file__).parents[2] / "man" / f"{name}.1"
    text = page.read_text().replace("\\-", "-")
    words = run(name, "--help").stdout.decode().split()
    options = {word.strip(",;:.()[]") for word in words if word.startswith("--")}
    missing = {option for option in options if option not in text}
    assert not missing


# The ends of pipes -------------------------------------------------------------------------


def test_one_file_two_files_and_streams_are_read_alike(pipe, oo_path):
    for line, events in [
        (f"hi-info --json {oo_path}", 120),
        (f"cat {oo_path} {oo_path} | hi-info --json -", 240),
        (f"hi-cat {oo_path} | hi-info --json", 120),
        (f"hi-cat {oo_path} --head 7 | hi-info --json -", 7),
        (f"hi-info --json < {oo_path}", 120),
        (f"cat <(hi-cat {oo_path}) {oo_path} <(hi-cat {oo_path}) | hi-info --json", 360),
        (f"hi-cat {oo_path} | tee copy.h5 | hi-info --json && hi-info --json copy.h5", 120),
    ]:
        result = pipe(line)
        assert result.returncode == 0, result.stderr
        assert result.stderr == b""
        assert f'"n_events": {events},'.encode() in result.stdout


def test_redirected_output_is_one_ordinary_file(pipe, tmp_path, oo, oo_path):
    assert pipe(f"hi-cat {oo_path} > copy.h5").returncode == 0
    with h5py.File(tmp_path / "copy.h5") as file:
        assert file["events"].shape == (120, 11)
        assert "continues" not in file.attrs
    assert (read_all(tmp_path / "copy.h5").particles == oo.particles).all()


def test_a_reader_that_stops_early_ends_the_writer_silently(pipe, oo_path):
    result = pipe(
        f"set +o pipefail; hi-cat {' '.join([str(oo_path)] * 40)} | head -c 100 > /dev/null; "
        'echo "${PIPESTATUS[0]}"'
    )
    assert result.stderr == b""
    assert result.stdout.strip() == str(128 + signal.SIGPIPE).encode()


def test_head_of_an_endless_stream_ends(pipe, oo_path):
    """The writer on the left never stops by itself."""
    result = pipe(
        f"set +o pipefail; while cat {oo_path}; do :; done 2>/dev/null | hi-cat --head 300 "
        "| hi-info --json"
    )
    assert result.returncode == 0, result.stderr
    assert b'"n_events": 300,' in result.stdout


def test_an_upstream_that_is_killed_is_an_error_downstream(tmp_path, oo_path):
    """The writer dies in the middle; what it sent so far is whole images."""
    env = os.environ | {"PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    # The first part of a stream, then silence, then death by SIGKILL.
    upstream = subprocess.Popen(
        ["bash", "-c", f"hi-cat {oo_path} | head -c 300000; exec sleep 60"],
        stdout=subprocess.PIPE,
        env=env,
        stderr=subprocess.DEVNULL,
    )
    reader = subprocess.Popen(
        [script("hi-cat"), "-", "-o", "copy.h5"],
        stdin=upstream.stdout,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert upstream.stdout is not None
    upstream.stdout.close()
    time.sleep(1.5)
    upstream.kill()
    upstream.wait()
    out, err = reader.communicate(timeout=60)
    assert reader.returncode == 2
    assert out == b""
    assert err.decode().count("\n") == 1
    assert "events in" in err.decode()
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_fails_in_the_middle_makes_the_whole_pipe_fail(pipe, oo_path):
    """hi-cat passes on what arrived, but never an end marker that would vouch for it."""
    result = pipe(f"head -c 400000 {oo_path} | hi-cat | hi-info; echo ${{PIPESTATUS[@]}}")
    assert result.stdout.strip() == b"0 2 2"


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("hi-cat {} > /dev/full", "standard output"),
        ("hi-cat {} -o /dev/full", "/dev/full"),
        ("hi-info {} > /dev/full", "standard output"),
        ("hi-info {} --json > /dev/full", "standard output"),
        ("hi-w1 {} -q --json=/dev/full", "/dev/full"),
    ],
)
def test_output_to_a_full_device_is_one_line_that_names_it(pipe, oo_path, line, where):
    result = pipe(line.format(oo_path))
    command = line.split()[0]
    assert_one_line_error(result, command, f"{where}:", "No space left on device")


def test_numbers_go_into_a_named_pipe_and_it_stays_one(pipe, oo_path):
    """A file would be replaced when it is complete."""
    result = pipe(f"mkfifo there; hi-w1 {oo_path} -q --json=there & cat there; wait; test -p there")
    assert result.returncode == 0
    assert json.loads(result.stdout)["command"] == "hi-w1"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_table_into_a_closed_pipe_ends_as_sigpipe_does(oo_path, options):
    """Status 1 would say that a gate failed."""
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [script("hi-info"), oo_path, *options],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert result.returncode == -signal.SIGPIPE
    assert result.stderr == b""


def test_binary_output_to_a_terminal_is_refused(oo_path):
    ours, theirs = pty.openpty()
    result = subprocess.run(
        [script("hi-cat"), oo_path], stdout=theirs, stderr=subprocess.PIPE, check=False
    )
    os.close(theirs)
    os.close(ours)
    assert result.returncode == 2
    assert "terminal" in result.stderr.decode()
    assert result.stderr.count(b"\n") == 1


def test_input_from_a_terminal_is_asked_for_not_waited_for():
    ours, theirs = pty.openpty()
    result = subprocess.run(
        [script("hi-info")], stdin=theirs, capture_output=True, timeout=20, check=False
    )
    os.close(theirs)
    os.close(ours)
    assert_one_line_error(result, "input")


@pytest.mark.parametrize("name", ["hi-cat", "hi-info"])
@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"", "empty"), (b"not events at all" * 9, "not an HDF5")],
)
def test_bad_input_is_one_line_that_names_the_file(run, tmp_path, name, content, words):
    if content is not None:
        (tmp_path / "bad.h5").write_bytes(content)
    assert_one_line_error(run(name, "bad.h5"), "bad.h5", words)


# The ends of a process -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "status", "told"),
    [
        ("hi-cat {} -o all.h5 >&-", 0, b""),
        ("hi-w1 {} -q --require 'w1.pt<10' >&-", 0, b""),
        ("hi-cat {} -o all.h5 2>&-", 0, b""),
        ("hi-info nothing 2>&-", 2, b""),
        ("hi-cat {} >&-", 2, b"Bad file descriptor"),
        ("hi-info <&-", 2, b"Bad file descriptor"),
    ],
)
def test_a_closed_standard_stream_is_missed_only_where_it_is_needed(
    pipe, oo_path, line, status, told
):
    result = pipe(line.format(oo_path))
    assert result.returncode == status
    assert result.stdout == b""
    assert told in result.stderr
    assert result.stderr.count(b"\n") == bool(told)


def test_what_nobody_foresaw_is_no_failed_gate(run, oo_path, monkeypatch, tmp_path):
    """Status 1 would be one; with HITOOLS_DEBUG all of the exception is shown."""
    (tmp_path / "sitecustomize.py").write_text(
        "import h5py\nclass Broken(h5py.File):\n"
        "    def __init__(self, *_, **__): raise KeyError('odd')\nh5py.File = Broken\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert_one_line_error(run("hi-info", oo_path), "KeyError", "HITOOLS_DEBUG=1")
    monkeypatch.setenv("HITOOLS_DEBUG", "1")
    assert b"Traceback" in run("hi-info", oo_path).stderr


@pytest.mark.parametrize(
    "words",
    [
        ("hi-w1", "weightless.h5"),
        ("hi-flow", "weightless.h5"),
        ("hi-jets", "weightless.h5", "weightless.h5"),
        ("hi-train", "weightless.h5", "-o", "model", "--steps", "1"),
    ],
)
def test_events_without_any_weight_are_bad_input(run, tmp_path, oo_path, words):
    """Their averages would be 0 / 0, and a training of them would learn nothing."""
    shutil.copy(oo_path, tmp_path / "weightless.h5")
    with h5py.File(tmp_path / "weightless.h5", "r+") as file:
        file["weights"] = np.zeros(len(file["events"]), np.float32)
    assert_one_line_error(run(*words, "-q"), "weights", "add up to 0")
