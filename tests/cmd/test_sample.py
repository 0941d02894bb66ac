"""hi-sample as a user runs it: files, streams, conditions, several processes."""

import json
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

from hitools.cmd.sample import main
from hitools.core.diffusion.solvers import GRIDS, SOLVERS
from hitools.core.features import SMALL, event_features
from hitools.core.format.meta import EventMeta, Selection
from hitools.core.format.reader import open_events
from hitools.core.format.writer import open_writer
from hitools.core.model.shipped import model_libraries, named_models
from tests.conftest import assert_one_line_error, read_all, script

STEPS = ("--steps", "2", "--event-steps", "2")


@pytest.fixture(scope="module")
def few(oo):
    return oo.take(np.flatnonzero((oo.n_particles > 0) & (oo.n_particles < 70))[:25])


@pytest.fixture(scope="module")
def model(few, tmp_path_factory):
    """A small model, barely trained: what is tested here does not depend on its quality."""
    folder = tmp_path_factory.mktemp("model")
    with open_writer(folder / "few.h5", EventMeta("O-O", 5360.0, Selection())) as out:
        out.write(few)
    network = ["width=8", "n_heads=2", "n_blocks=1", "n_head_blocks=1", "n_neighbours=3"]
    result = subprocess.run(
        [script("hi-train"), "few.h5", "-o", "model", "--preset", "quick", "--steps", "3"]
        + [word for setting in network for word in ("--net", setting)],
        capture_output=True,
        cwd=folder,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    return folder / "model"


def test_a_sample_is_a_sound_event_file_of_generated_vectors(run, tmp_path, model, few):
    result = run("hi-sample", "-m", model, "-n", 30, "-o", "out.h5", *STEPS)
    assert result.returncode == 0, result.stderr
    assert result.stdout == b""
    assert b"moved into the range of the training events" in result.stderr
    assert run("hi-info", "out.h5", "--check").returncode == 0
    with open_events(tmp_path / "out.h5") as events:
        assert events.n_events == 30
        meta = events.meta
    assert (meta.system, meta.sqrt_s_nn_gev) == ("O-O", 5360.0)
    assert meta.selection == Selection()
    assert meta.event_vectors == "generated"
    assert [step.program for step in meta.provenance] == ["hi-train", "hi-sample"]
    assert meta.provenance[1].parent == (meta.provenance[0].id,)
    assert meta.provenance[1].seed == 1
    sample = read_all(tmp_path / "out.h5")
    assert sample.n_particles.max() <= few.n_particles.max()
    # The generated vector is not that of the particles: closure tests mean something.
    assert not np.allclose(sample.event("q_x"), sample.recomputed().event("q_x"), atol=0.01)


def test_the_same_seed_gives_the_same_bytes_and_another_other_events(run, tmp_path, model):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(
            *("hi-sample", "-m", model, "-n", 5, "-o", f"{name}.h5", "--seed", seed),
            *("--no-provenance", "-q", *STEPS),
        )
    a, b, c = ((tmp_path / f"{name}.h5").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_two_processes_give_the_events_of_one(run, tmp_path, model):
    """Equal to rounding, in the same order."""
    for processes in (1, 2):
        result = run(
            *("hi-sample", "-m", model, "-n", 40, "-o", f"{processes}.h5", "-j", processes),
            *("--budget", 200, *STEPS),
        )
        assert result.returncode == 0, result.stderr
        assert result.stderr.count(b"\n") == 1
    one, two = (read_all(tmp_path / f"{processes}.h5") for processes in (1, 2))
    np.testing.assert_array_equal(one.offsets, two.offsets)
    np.testing.assert_allclose(one.events, two.events, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(one.particle("pt"), two.particle("pt"), rtol=1e-3)


@pytest.mark.parametrize("processes", [1, 2])
def test_the_first_events_come_soon_and_a_closed_pipe_ends_everything(pipe, model, processes):
    """A sample of a million events, of which somebody wants three."""
    start = time.monotonic()
    result = pipe(
        f"set +o pipefail; hi-sample -m {model} -n 1000000 -j {processes} {' '.join(STEPS)} "
        "| hi-cat --head 3 | hi-info --json; echo status ${PIPESTATUS[0]}"
    )
    assert result.stderr == b""
    assert b'"n_events": 3,' in result.stdout
    assert b"status 141" in result.stdout
    assert time.monotonic() - start < 120  # seconds on a machine with nothing else to do


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_two_processes_that_are_ended_leave_no_half_file(tmp_path, model, number):
    """The user ends the one that was started, in whatever way; the one that writes is another."""
    command = [script("hi-sample"), "-m", str(model), "-n", "1000000", "-j", "2", *STEPS]
    with subprocess.Popen(
        [*command, "-o", "x.h5"], cwd=tmp_path, stderr=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 100
        while not list(tmp_path.glob(".x.h5.*.part")) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert list(tmp_path.glob(".x.h5.*.part"))
        process.send_signal(number)
        _, told = process.communicate(timeout=60)  # of all processes
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert told == b""
    assert list(tmp_path.iterdir()) == []


def test_recompute_stores_the_vectors_of_the_particles(run, tmp_path, model):
    run("hi-sample", "-m", model, "-n", 8, "-o", "generated.h5", *STEPS)
    run("hi-sample", "-m", model, "-n", 8, "-o", "recomputed.h5", "--recompute", *STEPS)
    generated, recomputed = (
        read_all(tmp_path / f"{name}.h5") for name in ("generated", "recomputed")
    )
    np.testing.assert_array_equal(generated.particle("phi"), recomputed.particle("phi"))
    with open_events(tmp_path / "recomputed.h5") as events:
        assert events.meta.event_vectors == "particles"
    expected = event_features(
        *(recomputed.particle(name) for name in ("pt", "eta", "phi")),
        recomputed.offsets,
        *(generated.event(name) for name in ("b", "n_coll", "n_part")),
    )
    np.testing.assert_allclose(recomputed.events, expected, rtol=1e-6, atol=1e-6)


def test_like_takes_the_vectors_of_a_file_or_a_stream(run, pipe, tmp_path, model, few):
    source = model.parent / "few.h5"
    run("hi-sample", "-m", model, "--like", source, "-o", "like.h5", *STEPS)
    like = read_all(tmp_path / "like.h5")
    np.testing.assert_array_equal(like.events, few.events)
    assert not np.array_equal(like.particles, few.particles)
    for processes in (1, 2):  # of which only one can read the stream
        result = pipe(
            f"hi-cat {source} --head 4 | hi-sample -m {model} --like - -n 9 -j {processes} "
            f"-o nine{processes}.h5 {' '.join(STEPS)}"
        )
        assert result.returncode == 0, result.stderr
        nine = read_all(tmp_path / f"nine{processes}.h5")
        np.testing.assert_array_equal(nine.events, few.events[np.arange(9) % 4])


def test_select_draws_until_it_holds(run, tmp_path, model):
    select = "mean_eta > 0.1 and n_particles > 20"
    result = run("hi-sample", "-m", model, "-n", 12, "--select", select, "-o", "s.h5", *STEPS)
    assert result.returncode == 0, result.stderr
    sample = read_all(tmp_path / "s.h5")
    assert len(sample) == 12
    assert ((sample.event("mean_eta") > 0.1) & (sample.n_particles > 20)).all()


def test_no_events_are_a_stream_without_events(pipe, model):
    result = pipe(f"hi-sample -m {model} -n 0 -q | hi-info --json")
    assert b'"n_events": 0,' in result.stdout


def test_bad_usage_is_one_line(run, model):
    for arguments, words in [
        (("-m", model), ("-n N",)),
        (("-m", "nowhere", "-n", 1, "-o", "x.h5"), ("nowhere: no model here", "no such folder")),
        (("-m", model, "-n", 1, "--solver", "rk4"), ("rk4",)),
        (("-m", model, "-n", 1, "--select", "c<5"), ("c<5",)),
        (("-m", model, "-n", 1, "--select", ""), ("--select ''",)),
        (("-m", model, "-n", 1, "-o", "x.h5", "--select", "b>50", *STEPS), ("none of",)),
        (("-m", model, "--like", "nowhere.h5"), ("nowhere.h5",)),
        (("-m", model, "--like", "x.h5", "--select", "b<5"), ("hi-cat",)),
        (("-m", model, "-n", 1, "-o", "no/such/folder.h5", *STEPS), ("no/such/folder.h5",)),
    ]:
        assert_one_line_error(run("hi-sample", *arguments), *words)


def test_a_wrong_option_in_two_processes_is_one_line_too(run, model):
    result = run("hi-sample", "-m", "nowhere", "-n", 4, "-o", "x.h5", "-j", 2)
    assert_one_line_error(result, "nowhere: no model here")


@pytest.fixture
def library(model, tmp_path, monkeypatch):
    """The same model under the default's name, in a folder of the user's own models."""
    shutil.copytree(model, tmp_path / "library" / "oo-5360")
    (tmp_path / "library" / "oo-5360" / "README.md").write_text("# oo-5360\n\nA toy. Not more.\n")
    monkeypatch.setenv("HITOOLS_MODELS", str(tmp_path / "library"))


def test_without_model_and_number_it_lists_what_there_is(run, library):
    result = run("hi-sample")
    assert result.returncode == 0
    assert result.stderr == b""
    line = next(x for x in result.stdout.decode().splitlines() if x.startswith("oo-5360 "))
    for word in ("O-O, 5360 GeV", "ab2, 16 steps (uniform grid), 16 evaluations", "A toy."):
        assert word in line


def test_a_number_alone_samples_from_the_default_model_and_says_so(run, pipe, library, model):
    run("hi-sample", "-m", model, "-n", 6, "-o", "a.h5", "--no-provenance", *STEPS)
    result = run("hi-sample", "-n", 6, "-o", "b.h5", "--no-provenance", *STEPS)
    assert result.returncode == 0
    assert b"the model is oo-5360" in result.stderr
    assert pipe("cmp a.h5 b.h5").returncode == 0
    line = f"hi-sample -m oo-5360 -n 3 -q {' '.join(STEPS)} | hi-info --json -"
    result = pipe(line)
    assert result.returncode == 0
    assert b'"n_events": 3,' in result.stdout


def test_a_wrong_name_lists_the_right_ones(run, library):
    assert_one_line_error(run("hi-sample", "-m", "oo-536", "-n", 1), "oo-536: no", "are oo-5360")


def test_hi_info_describes_a_model_by_folder_and_by_name(run, library, model):
    for source in ("oo-5360", model):
        result = run("hi-info", source)
        assert result.returncode == 0, result.stderr
        assert result.stderr == b""
        assert b"ab2, 16 steps (uniform grid), 16 evaluations" in result.stdout
        assert b"hi-train few.h5 -o model" in result.stdout
    found = json.loads(run("hi-info", "oo-5360", "--json").stdout)
    assert (found["model"], found["description"]) == ("oo-5360", "A toy.")
    assert found["data"]["n_train"] == 24
    assert_one_line_error(run("hi-info", "--check", "oo-5360"), "--check")


def test_the_shipped_model_moves_particles_to_their_sums_unless_told_not_to(run, tmp_path, model):
    """What the network reached can be had; after it Q is closer, and no spectrum changes."""
    for name, more in (("moved", ()), ("bare", ("--corrections", 0))):
        run("hi-sample", "-n", 60, "-o", f"{name}.h5", "-q", *more)
    moved, bare = (read_all(tmp_path / f"{name}.h5") for name in ("moved", "bare"))
    np.testing.assert_array_equal(moved.events, bare.events)
    small = np.repeat(bare.n_particles < SMALL, bare.n_particles)
    np.testing.assert_array_equal(moved.particles[small], bare.particles[small])
    large = bare.n_particles >= SMALL

    def off_by(events):
        again = events.recomputed()
        return np.std([(events.event(q) - again.event(q))[large] for q in ("q_x", "q_y")])

    assert off_by(moved) < off_by(bare) / 2 < 0.4
    pt = [events.particle("pt").astype(np.float64) for events in (moved, bare)]
    assert np.abs(pt[0] - pt[1]).mean() < 0.02
    refused = run("hi-sample", "-m", model, "-n", 1, "--corrections", 1)
    assert_one_line_error(refused, "corrections: 0 expected")


def test_every_shipped_model_samples_events_that_are_sound(pipe):
    for name in named_models(model_libraries()[-1:]):
        result = pipe(f"hi-sample -m {name} -n 3 -q | hi-info --check --json -")
        assert result.returncode == 0, result.stderr
        assert b'"n_events": 3,' in result.stdout


def test_the_command_offers_every_solver_and_grid():
    choices = {
        parameter.name: set(parameter.type.choices)
        for parameter in main.params
        if parameter.name in ("solver", "grid")
    }
    assert choices == {"solver": set(SOLVERS), "grid": set(GRIDS)}
