"""hi-mc: real generators as a command, and what becomes of its processes.

Mostly p-p, where an event takes a millisecond.
"""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.format.meta import Selection
from hitools.core.format.reader import open_events
from tests.conftest import assert_one_line_error, read_all, script

PP = ("--system", "p-p", "--no-provenance")


@pytest.fixture(scope="module")
def pp(tmp_path_factory) -> EventBatch:
    """1200 p-p events, more than two blocks, from one worker."""
    path = tmp_path_factory.mktemp("pp") / "pp.h5"
    subprocess.run([script("hi-mc"), *PP, "-q", "-n", "1200", "-o", path], check=True, timeout=300)
    return read_all(path)


def same_events(a: EventBatch, b: EventBatch) -> bool:
    return bool(
        np.array_equal(a.events, b.events)
        and np.array_equal(a.particles, b.particles)
        and np.array_equal(a.n_particles, b.n_particles)
    )


def test_the_quickstart_line_makes_a_file_of_oxygen_events(run, tmp_path):
    result = run(
        "hi-mc",
        *("--generator", "angantyr", "--system", "O-O", "--sqrt-s-nn", 5360),
        *("-n", 250, "-j", 2, "--seed", 1, "-o", "oo.h5"),
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == b""
    assert b"250 events of Pythia 8.3" in result.stderr
    assert b"100% kept" in result.stderr
    assert b"without a particle (charged, |eta| < 2.5)" in result.stderr
    with open_events(tmp_path / "oo.h5") as events:
        assert events.meta.system == "O-O"
        assert events.meta.sqrt_s_nn_gev == 5360
        assert events.meta.selection == Selection(charged=True, eta_max=2.5, pt_min=0)
        (step,) = events.meta.provenance
        assert step.program == "hi-mc"
        assert step.seed == 1
    oo = read_all(tmp_path / "oo.h5")
    assert len(oo) == 250
    assert (oo.n_particles > 0).all()
    assert 80 < np.median(oo.n_particles) < 180
    assert run("hi-info", "--check", "oo.h5").returncode == 0


@pytest.mark.parametrize(("workers", "number"), [(2, 1200), (3, 700), (2, 3)])
def test_event_k_is_the_same_whatever_the_workers_and_the_number(
    run, tmp_path, pp, workers, number
):
    result = run("hi-mc", *PP, "-q", "-n", number, "-j", workers, "-o", "out.h5")
    assert result.returncode == 0, result.stderr
    assert result.stderr == b""
    assert same_events(read_all(tmp_path / "out.h5"), pp[:number])


def test_another_seed_gives_other_events(run, tmp_path, pp):
    run("hi-mc", *PP, "-n", 200, "--seed", 2, "-o", "out.h5")
    other = read_all(tmp_path / "out.h5")
    assert not set(other.event("b")) & set(pp.event("b"))


def test_the_first_run_gives_the_events_of_the_following_ones(tmp_path, pp):
    """A cold start makes Pythia's tables, which no other run here has seen."""
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    line = [script("hi-mc"), *PP, "-n", "100", "-o", str(tmp_path / "out.h5")]
    first, second = (
        subprocess.run(line, env=environment, capture_output=True, timeout=300, check=True)
        for _ in range(2)
    )
    assert b"once: about 15 s" in first.stderr
    assert b"once" not in second.stderr
    assert same_events(read_all(tmp_path / "out.h5"), pp[:100])
    assert len(list((tmp_path / "cache" / "hitools" / "pythia").iterdir())) == 1


def test_nothing_but_events_goes_to_standard_output(pipe, tmp_path, pp):
    result = pipe(
        f"hi-mc {' '.join(PP)} -n 600 -j 2 | tee copy.h5 | hi-cat --every 6 | hi-info --json -"
    )
    assert result.returncode == 0, result.stderr
    assert b'"n_events": 100,' in result.stdout
    assert same_events(read_all(tmp_path / "copy.h5"), pp[:600])


def test_weights_come_on_request(run, tmp_path):
    assert run("hi-mc", *PP, "-n", 100, "--weighted", "-o", "out.h5").returncode == 0
    weights = read_all(tmp_path / "out.h5").weights
    assert weights.min() >= 1
    assert weights.std() > 0.01


def test_a_card_and_settings_are_read_in_order(run, tmp_path):
    (tmp_path / "near.cmnd").write_text("HeavyIon:bWidth = 9\n")
    arguments = ("--set", "HeavyIon:bWidth = 0.5", "-n", 100, "-o", "out.h5")
    assert run("hi-mc", *PP, "--card", "near.cmnd", *arguments).returncode == 0
    assert read_all(tmp_path / "out.h5").event("b").max() < 0.5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--system", "O-Q"), ("'Q' is no beam",)),
        (("--system", "U-U"), ("Pythia does not know U",)),
        (("--set", "Tune:pq = 3"), ("--set", "Tune:pq = 3")),
        (("--card", "missing.cmnd"), ("missing.cmnd", "No such file")),
        (("--generator", "epos"), ("epos", "data files from the web", "hi-prep")),
        (("--sqrt-s-nn", "7"), ("20 GeV",)),
        (("--pt-min", "inf"), ("--pt-min", "must be finite")),
        (("-o", "missing/out.h5"), ("missing/out.h5", "cannot write")),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(run, tmp_path, arguments, words):
    assert_one_line_error(run("hi-mc", "-n", 5, "-o", "out.h5", *arguments), "hi-mc", *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("generator", "module", "extra"),
    [("angantyr", "pythia8mc", "hitools[pythia]"), ("urqmd", "chromo", "hitools[urqmd]")],
)
def test_a_missing_generator_says_how_to_install_it(tmp_path, generator, module, extra):
    """A module of that name that cannot be imported stands in the way of the real one."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / f"{module}.py").write_text(f"raise ImportError(name={module!r})\n")
    result = subprocess.run(
        [script("hi-mc"), "--generator", generator, "-n", "1", "-o", tmp_path / "out.h5"],
        env=os.environ | {"PYTHONPATH": str(blocked)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert_one_line_error(result, f"{module} is missing", f"pip install '{extra}'")


# The ends of its processes -----------------------------------------------------------------


def processes_below(pid: int) -> list[int]:
    """The foreman first, then its workers."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        if fields[0] != "Z":
            parents[int(stat.parent.name)] = int(fields[1])
    found = [pid]
    for ancestor in found:
        found += [child for child, parent in parents.items() if parent == ancestor]
    return found[1:]


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def eventually(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def busy(tmp_path):
    """A hi-mc that would take very long, once some events are in its file; and its processes."""
    started = []

    def start(*arguments: str) -> tuple[subprocess.Popen[bytes], list[int]]:
        process = subprocess.Popen(
            [script("hi-mc"), *PP, "-n", "10000000", "-j", "2", "-o", "out.h5", *arguments],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        eventually(lambda: any(p.stat().st_size > 100_000 for p in tmp_path.glob(".out*.part")))
        eventually(lambda: len(processes_below(process.pid)) >= 3)
        return process, processes_below(process.pid)

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_an_interrupt_leaves_nothing(busy, tmp_path):
    process, below = busy()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == b""
    assert list(tmp_path.iterdir()) == []
    eventually(lambda: not alive(below))


def test_an_interrupt_keeps_whole_events_on_request(busy, tmp_path, pp):
    process, below = busy("--keep-partial")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    kept = read_all(tmp_path / "out.h5")
    assert f"{len(kept)} events of Pythia".encode() in err
    assert 0 < len(kept) < 10_000_000
    common = min(len(kept), len(pp))
    assert same_events(kept[:common], pp[:common])
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]
    eventually(lambda: not alive(below))


def test_workers_end_with_a_killed_command(busy):
    process, below = busy()
    process.kill()
    eventually(lambda: not alive(below), seconds=20)


def test_a_killed_worker_is_an_error_not_a_hang(busy, tmp_path):
    process, _ = busy()
    end = time.monotonic() + 30
    # A worker that is ending by itself when it is hit has done its work: aim until one is hit.
    while process.poll() is None and time.monotonic() < end:
        for worker in processes_below(process.pid)[1:]:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        time.sleep(0.1)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert err.count(b"\n") == 1
    assert b"killed by SIGKILL" in err
    assert list(tmp_path.iterdir()) == []


def test_a_killed_foreman_is_an_error_and_takes_its_workers_along(busy):
    process, below = busy()
    os.kill(below[0], signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert err.count(b"\n") == 1
    assert b"killed by SIGKILL" in err
    eventually(lambda: not alive(below))


def test_a_reader_that_has_enough_ends_it_silently(tmp_path):
    writer = subprocess.Popen(
        [script("hi-mc"), *PP, "-n", "10000000", "-j", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert writer.stdout
    assert writer.stderr
    assert writer.stdout.read(100_000)
    below = processes_below(writer.pid)
    writer.stdout.close()
    assert writer.wait(timeout=60) == -signal.SIGPIPE
    assert writer.stderr.read() == b""
    writer.stderr.close()
    assert below
    eventually(lambda: not alive(below))
