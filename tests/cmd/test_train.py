"""hi-train as a user runs it: alone, killed, in several processes, on a stream."""

import json
import signal
import subprocess
import sys
import time
from functools import cache

import numpy as np
import pytest
from safetensors.torch import load_file

from hitools.core.format.meta import EventMeta, Selection
from hitools.core.format.writer import open_writer
from tests.conftest import assert_one_line_error, script

RUN = ("--batch", "4", "--epochs", "2", "--validation-fraction", "0.2")
SMALL = (
    *("--preset", "paper", *RUN),
    *("--net", "width=8", "--net", "n_heads=2", "--net", "n_blocks=1", "--net", "n_head_blocks=1"),
    *("--net", "n_neighbours=3"),
    "--no-provenance",
)
ROTARY = (
    *("--preset", "rotary", *RUN),
    *("--net", "width=16", "--net", "n_heads=1", "--net", "head_width=24", "--net", "n_blocks=2"),
    *("--net", "n_feedbacks=1"),
)
LAUNCH = (
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"),
    *("--num_processes", "2", "--main_process_port", "0"),
)


@pytest.fixture(scope="module")
def events(oo, tmp_path_factory):
    """25 small real events in a file."""
    path = tmp_path_factory.mktemp("events") / "few.h5"
    few = oo.take(np.flatnonzero((oo.n_particles > 0) & (oo.n_particles < 70))[:25])
    assert len(few) == 25
    with open_writer(path, EventMeta("O-O", 5360.0, Selection())) as out:
        out.write(few)
    return path


@pytest.fixture(scope="module")
def more_events(oo, tmp_path_factory):
    """Real events: with so many, those to validate with are like the others."""
    path = tmp_path_factory.mktemp("more") / "more.h5"
    some = oo.take(np.flatnonzero((oo.n_particles > 5) & (oo.n_particles < 300)))
    assert len(some) > 60
    with open_writer(path, EventMeta("O-O", 5360.0, Selection())) as out:
        out.write(some)
    return path


@pytest.fixture(scope="module")
def begun(events, more_events, tmp_path_factory):
    """Of each kind of network, events and a model trained on them, to go on from."""

    @cache
    def make(kind):
        used = events if kind == SMALL else more_events
        folder = tmp_path_factory.mktemp("begun") / "first"
        words = [script("hi-train"), str(used), "-o", str(folder), *kind, "--no-provenance"]
        subprocess.run(words, capture_output=True, check=True)
        return used, folder

    return make


@pytest.fixture(scope="module")
def undisturbed(events, tmp_path_factory):
    """A model trained in one go by one process."""
    folder = tmp_path_factory.mktemp("undisturbed") / "model"
    result = subprocess.run(
        [script("hi-train"), str(events), "-o", str(folder), *SMALL],
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    return folder


def metrics(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_same_bits(one, other) -> None:
    for name in ("model.safetensors", "state/state.safetensors"):
        first, second = load_file(one / name), load_file(other / name)
        assert first.keys() == second.keys()
        for key in first:
            assert first[key].equal(second[key]), f"{name}: {key}"


def test_a_training_leaves_a_model_and_says_how_it_goes(run, tmp_path, events):
    result = run("hi-train", events, "-o", "model", *SMALL, "--plot", "loss.png")
    assert result.returncode == 0, result.stderr
    assert result.stdout == b""
    lines = result.stderr.decode().splitlines()
    assert "20 events" in lines[0]
    assert "10 steps (5 an epoch)" in lines[0]
    assert [line.split(":")[1].split(",")[0] for line in lines[1:3]] == [" epoch 1", " epoch 2"]
    assert "left" in lines[2]
    assert "best validation loss" in lines[3]
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {"config.json", "model.safetensors", "metrics.jsonl", "state"}
    assert len(metrics(tmp_path / "model")) == 2
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["training"]["batch"] == 4
    assert config["training"]["rate"] == 3e-5
    assert config["system"] == "O-O"
    again = run("hi-train", events, "-o", "model", *SMALL)
    assert b"this training is complete (10 steps)" in again.stderr


def test_quiet_is_quiet_and_provenance_is_kept(run, tmp_path, events):
    result = run("hi-train", events, "-o", "m", *SMALL[:-1], "-q")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert [step["program"] for step in config["provenance"]] == ["hi-train"]


def test_kill_9_at_any_moment_and_the_same_command_again_gives_the_same_bits(
    tmp_path, events, undisturbed
):
    folder = tmp_path / "model"
    command = [script("hi-train"), str(events), "-o", str(folder), *SMALL, "--save-seconds", "0"]
    state = folder / "state" / "state.safetensors"
    starts = 0
    for pause in (0.0, 0.03, 0.1, 0.3):
        before = state.stat().st_mtime_ns if state.exists() else 0
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while process.poll() is None and (not state.exists() or state.stat().st_mtime_ns == before):
            time.sleep(0.002)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        starts += process.wait() == -signal.SIGKILL
    assert starts >= 2  # it really was interrupted
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert_same_bits(folder, undisturbed)
    assert [line["validation"] for line in metrics(folder)] == [
        line["validation"] for line in metrics(undisturbed)
    ]


@pytest.mark.parametrize("way", ["--processes", "accelerate --no_python", "accelerate -m"])
def test_two_processes_with_half_the_batch_train_like_one(tmp_path, events, undisturbed, way):
    options = [str(events), "-o", "two", *SMALL, "--batch", "2"]
    command = {
        "--processes": [script("hi-train"), *options, "--processes", "2"],
        "accelerate --no_python": [*LAUNCH, "--no_python", script("hi-train"), *options],
        "accelerate -m": [*LAUNCH, "-m", "hitools.cmd.train", *options],
    }[way]
    result = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=300, check=False)
    message = result.stderr.decode()
    assert result.returncode == 0, message
    assert message.count("best validation loss") == 1  # one process speaks
    assert "2 processes" in message
    for mine, theirs in zip(metrics(tmp_path / "two"), metrics(undisturbed), strict=True):
        for kind in ("training", "validation"):
            assert mine[kind] == pytest.approx(theirs[kind], rel=1e-5)
    one, two = (
        load_file(folder / "model.safetensors") for folder in (undisturbed, tmp_path / "two")
    )
    # Lion steps by the sign of a sum: a rounding can turn single weights by a step of the rate.
    far = sum(int(((one[key] - two[key]).abs() > 1e-7).sum()) for key in one)
    assert far < 0.01 * sum(weight.numel() for weight in one.values())
    if way == "--processes":  # and an error is one line, of one process
        other = subprocess.run(
            [*command, "--rate", "1"], capture_output=True, cwd=tmp_path, timeout=300, check=False
        )
        assert_one_line_error(other, "rate 3e-05 then, 1.0 now")


def test_two_processes_train_the_rotary_network_like_one(run, tmp_path, events):
    for name, more in (("one", ()), ("two", ("--batch", "2", "--processes", "2"))):
        result = run("hi-train", events, "-o", name, *ROTARY, *more)
        assert result.returncode == 0, result.stderr
    for mine, theirs in zip(metrics(tmp_path / "two"), metrics(tmp_path / "one"), strict=True):
        for kind in ("training", "validation"):
            assert mine[kind] == pytest.approx(theirs[kind], rel=1e-4)
            terms = {"event", "particle", "sums", "hard", "vectors", "whole"}
            assert mine[kind].keys() == terms | {"total"}


def test_an_interrupt_leaves_a_run_that_goes_on(tmp_path, events, undisturbed):
    for attempt in range(10):  # the run is so short that it may end before the signal comes
        name = f"m{attempt}"
        command = [script("hi-train"), str(events), "-o", name, *SMALL, "--save-seconds", "0"]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
        while not (tmp_path / name / "state" / "state.safetensors").exists():
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        _, message = process.communicate()
        if process.returncode != 0:
            break
    assert process.returncode == 130
    assert b"Traceback" not in message
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    assert_same_bits(tmp_path / name, undisturbed)


def test_a_stream_is_a_source_of_events(pipe, tmp_path, events):
    result = pipe(
        f"hi-cat {events} {events} | hi-train - -o model {' '.join(SMALL)} "
        "--steps 4 --epoch-steps 2 --scaling-events 20"
    )
    assert result.returncode == 0, result.stderr
    assert b"a stream of events" in result.stderr
    assert [line["step"] for line in metrics(tmp_path / "model")] == [2, 4]


def test_a_validation_file_is_used_as_it_is(run, tmp_path, events):
    result = run("hi-train", events, "--validation", events, "-o", "m", *SMALL, "--epochs", 1)
    assert result.returncode == 0, result.stderr
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert (config["data"]["n_train"], config["data"]["n_validation"]) == (25, 25)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.h5", "-o", "m"), ("nowhere.h5",)),
        (("EVENTS", "-o", "m", "--net", "wdith=3"), ("unknown settings wdith",)),
        (("EVENTS", "-o", "m", "--net", "width=wide"), ("expected NAME=NUMBER",)),
        (("EVENTS", "-o", "m", "--net", "width"), ("expected NAME=NUMBER",)),
        (
            ("EVENTS", "-o", "m", "--preset", "paper", "--net", "width=10"),
            ("not a multiple of n_heads",),
        ),
        (("EVENTS", "-o", "m", "--preset", "paper", "--log", "phi"), ("no logarithm of phi",)),
        (("EVENTS", "-o", "m", "--slice-harmonics", "3;3"), ("expected numbers, like 3,2",)),
        (("EVENTS", "-o", "m", "--slice-harmonics", "3,1"), ("harmonics 3,1, expected two num",)),
        (
            ("EVENTS", "-o", "m", "--preset", "paper", "--slice-harmonics", "3,3"),
            ("'standardised' has no slices",),
        ),
        (
            ("EVENTS", "-o", "m", "--preset", "paper", "--branch", "hard"),
            ("--branch hard: this network does not draw hard particles",),
        ),
        (("EVENTS", "-o", "m", "--plot", "loss.txt"), ("loss.txt",)),
        (("EVENTS", "-o", "m", "--init", "nothing"), ("nothing: no model here",)),
        (("EVENTS",), ("--output",)),
        (("EVENTS", "-o", "m", "--rate", "-1"), ("rate -1.0 is out of range",)),
        (("EVENTS", "-o", "m", "--psi-loss", "nan"), ("psi_weight nan is out of range",)),
        (("EVENTS", "-o", "m", "--betas", "2", "2"), ("betas (2.0, 2.0) is out of range",)),
        (("EVENTS", "-o", "m", "--memory-gb", "-1"), ("memory_gb -1.0 is out of range",)),
        (("EVENTS", "-o", "m", "--net", "width=1e30"), ("expected at most 65536",)),
    ],
)
def test_bad_usage_is_one_line_and_leaves_nothing(run, tmp_path, events, arguments, words):
    arguments = [str(events) if argument == "EVENTS" else argument for argument in arguments]
    assert_one_line_error(run("hi-train", *arguments, "-q"), *words)
    assert list(tmp_path.iterdir()) == []


def test_spectra_are_set_right_at_the_end_once_and_where_asked_for(run, tmp_path, events):
    def maps() -> object:
        return json.loads((tmp_path / "model/config.json").read_text())["representation"][
            "right_spectra"
        ]

    words = ("hi-train", events, "-o", "model", *ROTARY, "--no-provenance")
    result = run(*words)
    assert b"set the spectra" not in result.stderr  # too few events for the preset's 2,000
    assert maps() is None
    weights = (tmp_path / "model/model.safetensors").read_bytes()
    result = run(*words, "--calibration-events", "15")
    assert result.returncode == 0, result.stderr
    assert b"generating 15 events to set the spectra" in result.stderr
    assert [len(of_class) for of_class in maps()["of_classes"]] == [2]  # pT, eta; one class
    again = run(*words, "--calibration-events", "15")
    assert again.returncode == 0
    assert b"set the spectra" not in again.stderr
    assert (tmp_path / "model/model.safetensors").read_bytes() == weights
    result = run("hi-sample", "-m", "model", "-n", "3", "-o", "sample.h5")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("kind", "branch"),
    [
        (SMALL, "event"),
        (SMALL, "particles"),
        (ROTARY, "event"),
        (ROTARY, "particles"),
        (ROTARY, "hard"),
        (ROTARY, "vectors"),
        (ROTARY, "whole"),
        ([*ROTARY, "--net", "vector_parts=0"], "vectors"),
    ],
    ids=[
        "paper-event",
        "paper-particles",
        "rotary-event",
        "rotary-particles",
        "rotary-hard",
        "rotary-vectors",
        "rotary-whole",
        "rotary-denoised-vectors",
    ],
)
def test_a_branch_is_trained_alone_and_goes_on_after_kill_9(run, tmp_path, begun, kind, branch):
    events, first = begun(tuple(kind))
    words = [str(events), *kind, "--no-provenance", "--init", str(first), "--branch", branch]
    words += ["--epochs", "20" if kind is SMALL else "8"]
    assert run("hi-train", *words, "-o", "whole").returncode == 0
    state = tmp_path / "killed" / "state" / "state.safetensors"
    process = subprocess.Popen(
        [script("hi-train"), *words, "-o", "killed", "--save-seconds", "0"],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not state.exists():
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL  # it really was interrupted
    again = run("hi-train", *words, "-o", "killed", "--plot", "loss.png")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "loss.png").stat().st_size > 5000
    assert_same_bits(tmp_path / "killed", tmp_path / "whole")
    before, after = (
        load_file(folder / "model.safetensors") for folder in (first, tmp_path / "whole")
    )
    changed = {key.partition(".")[0] for key in before if not before[key].equal(after[key])}
    parts = {key.partition(".")[0] for key in before}
    of_branch = {
        "event": parts & {"event", "slices", "hard", "whole"},
        "hard": {"hard"},
        "whole": {"whole"},
        "vectors": {"event"},
        "particles": parts - {"event", "slices", "hard", "whole"},
    }
    assert changed == of_branch[branch]
    lines, earlier = metrics(tmp_path / "whole"), metrics(first)
    assert ("particle" in lines[0]["validation"]) == (branch == "particles")
    term = next(iter(lines[0]["validation"]))
    if branch == "vectors":
        assert term == ("event" if "vector_parts=0" in kind else "vectors")
    loss = {"particles": "particle", "vectors": term}.get(branch, branch)
    # So few events tell next to nothing of hard particles, or of small events, but themselves.
    of = "training" if branch in ("hard", "whole") else "validation"
    # Where vectors are all that is denoised, the loss is theirs alone.
    past = lines[0] if loss == "event" and branch == "vectors" else earlier[-1]
    assert lines[-1][of][loss] < past[of][loss]


@pytest.mark.parametrize(
    ("preset", "size", "expected"),
    [
        ("rotary", "width=10.5", "width 10.5, expected a whole number from 1 on"),
        ("rotary", "slice_told=-1", "slice_told -1, expected a whole number from 0 on"),
        ("rotary", "n_densities=4", "n_densities 4, expected at most 3"),
        ("paper", "n_blocks=0", "n_blocks 0, expected a whole number from 1 on"),
        ("paper", "neighbour_columns=1", "neighbour_columns 1, expected several numbers"),
    ],
)
def test_a_size_that_no_network_can_have_is_refused(run, events, preset, size, expected):
    result = run("hi-train", events, "-o", "model", "--preset", preset, "--net", size)
    assert_one_line_error(result, f"network: {expected}")


def test_an_event_branch_of_other_sizes_begins_anew_and_particles_stay(run, tmp_path, events):
    first = run("hi-train", events, "-o", "first", *ROTARY, "--net", "slice_told=0")
    assert first.returncode == 0, first.stderr
    words = ("hi-train", events, "-o", "second", *ROTARY, "--init", "first", "--scaling", "keep")
    second = run(*words, "--branch", "event", "--net", "slice_told=4")
    assert second.returncode == 0, second.stderr
    before, after = (
        load_file(tmp_path / name / "model.safetensors") for name in ("first", "second")
    )
    assert any(key.startswith("slices.blocks.0.tell") for key in after.keys() - before.keys())
    same = {key for key in before.keys() & after.keys() if before[key].equal(after[key])}
    drawn_before = ("event", "slices", "hard", "whole")
    particles = {key for key in before if key.partition(".")[0] not in drawn_before}
    assert particles <= same
    assert not any(key.startswith("event.") for key in same)
    result = run("hi-sample", "-m", "second", "-n", "3", "-o", "sample.h5")
    assert result.returncode == 0, result.stderr
    words = ("hi-train", events, "-o", "third", "--init", "first")
    assert_one_line_error(run(*words, "--net", "width=64"), "--net width: a model to start from")
    assert_one_line_error(run(*words, "--net", "wide=64"), "--net wide: a model to start from")
    refused = run(*words, "--slice-harmonics", "3,3")
    assert_one_line_error(refused, "--slice-harmonics: a model to start from keeps", "3,2")
    assert not (tmp_path / "third/config.json").exists()


def test_small_events_can_be_drawn_as_a_whole_where_a_model_did_not(run, tmp_path, more_events):
    first = run("hi-train", more_events, "-o", "first", *ROTARY, "--net", "whole_width=0")
    assert first.returncode == 0, first.stderr
    words = ("hi-train", more_events, *ROTARY, "--init", "first", "--branch", "whole")
    assert_one_line_error(run(*words, "-o", "none"), "--branch whole: this network draws no")
    second = run(*words, "--scaling", "keep", "--net", "whole_width=8", "-o", "second")
    assert second.returncode == 0, second.stderr
    before, after = (
        load_file(tmp_path / name / "model.safetensors") for name in ("first", "second")
    )
    assert all(before[key].equal(after[key]) for key in before)
    assert {key.partition(".")[0] for key in after.keys() - before.keys()} == {"whole"}
    result = run("hi-sample", "-m", "second", "-n", "20", "-o", "sample.h5")
    assert result.returncode == 0, result.stderr


def test_a_model_is_trained_and_sampled_with_the_sums_that_were_asked_for(run, tmp_path, events):
    words = ("hi-train", events, "-o", "model", *ROTARY, "--slice-harmonics")
    result = run(*words, "3,3")
    assert result.returncode == 0, result.stderr
    config = json.loads((tmp_path / "model/config.json").read_text())
    assert config["representation"]["slices"]["harmonics"] == [3, 3]
    assert_one_line_error(run(*words, "2,2"), "slice_harmonics [3, 3] then, [2, 2] now")
    result = run("hi-sample", "-m", "model", "-n", "3", "-o", "sample.h5")
    assert result.returncode == 0, result.stderr
