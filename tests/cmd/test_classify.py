"""hi-classify: inputs, gates, refusals, the worst events, and the ends of pipes."""

import json
import os
import pty
import subprocess

import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.format.meta import EventMeta
from hitools.core.format.writer import open_writer
from tests.conftest import assert_one_line_error, read_all, script
from tests.core.toys import toy_events


def write(path, batch: EventBatch) -> None:
    with open_writer(path, EventMeta(system="O-O", sqrt_s_nn_gev=5360.0)) as out:
        out.write(batch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """reference.h5, same.h5 (of the same kind) and hot.h5 (its pT 20% too high)."""
    made = tmp_path_factory.mktemp("classify")
    write(made / "reference.h5", toy_events(400, 1, mean_particles=15))
    same = toy_events(400, 2, mean_particles=15)
    write(made / "same.h5", same)
    pt, eta, phi = (same.particle(name) for name in ("pt", "eta", "phi"))
    geometry = (same.event(name) for name in ("b", "n_coll", "n_part"))
    write(
        made / "hot.h5", EventBatch.from_particles(pt * 1.2, eta, phi, same.n_particles, *geometry)
    )
    return made


def quantities(result) -> dict[str, dict]:
    return {q["name"]: q for q in json.loads(result.stdout)["quantities"]}


def test_a_wrong_sample_is_caught_and_fails_its_gate(run, folder):
    result = run(
        "hi-classify",
        folder / "reference.h5",
        folder / "hot.h5",
        *["--json", "--seeds", "2", "--require", "auc.event<0.6", "--require", "auc.deepsets<2"],
    )
    assert result.returncode == 1
    found = quantities(result)
    assert found["auc.event"]["value"] > 0.65
    assert found["auc.deepsets"]["value"] > 0.6
    assert found["p_value.event"]["value"] < 1e-3
    assert abs(found["auc.event"]["floor"] - 0.5) < 0.2
    assert 0 < found["auc.event"]["error"] < 0.1
    assert result.stderr.decode().count("\n") == 1
    assert "gate failed: auc.event<0.6" in result.stderr.decode()


def test_the_same_kind_of_sample_passes(run, folder):
    result = run(
        "hi-classify",
        folder / "reference.h5",
        folder / "same.h5",
        *["--classifier", "event", "--require", "p_value.event>0.001"],
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == b""
    table = result.stdout.decode()
    assert "auc.event" in table
    assert "auc.deepsets" not in table
    assert "used: 400 of 400 reference events, 400 of 400 sample events" in table
    assert "200 and 200 events" in table


def test_one_input_is_compared_half_with_half(run, folder):
    result = run(
        "hi-classify", folder / "reference.h5", *["--classifier", "event", "--seeds", "1", "--json"]
    )
    assert result.returncode == 0, result.stderr
    found = quantities(result)
    assert found["auc.event"]["floor"] is None
    assert found["p_value.event"]["value"] > 1e-4
    assert "auc_spread.event" not in found
    assert "200 and 200" in json.loads(result.stdout)["remarks"][0]


def test_the_same_seed_gives_the_same_bytes_from_files_and_pipes(pipe, folder):
    line = "--classifier event --seeds 1 --json"
    a = pipe(f"cd {folder}; hi-classify reference.h5 same.h5 {line}").stdout
    b = pipe(f"cd {folder}; hi-cat same.h5 | hi-classify reference.h5 - {line}").stdout
    assert b'"-"' in b
    assert a == b.replace(b'"-"', b'"same.h5"')


def test_the_same_events_in_both_inputs_are_refused(run, pipe, folder):
    same, reference = folder / "same.h5", folder / "reference.h5"
    pipe(f"hi-cat {same} {reference} --events 395:403 -o {folder}/mixed.h5")
    pipe(f"hi-cat {folder}/mixed.h5 {folder}/hot.h5 -o {folder}/mixed2.h5")
    assert_one_line_error(
        run("hi-classify", reference, folder / "mixed2.h5"),
        "mixed2.h5: 3 of 408 events are also in",
        "reference.h5 (event 5 is its event 0)",
    )


def test_too_few_events_are_refused(run, oo_path, folder):
    assert_one_line_error(run("hi-classify", oo_path), "oo.h5: 120 events", "at least 200")
    pipe_error = run("hi-classify", folder / "reference.h5", "missing.h5")
    assert_one_line_error(pipe_error, "missing.h5")


def test_the_worst_events_are_written_with_their_origin(run, tmp_path, folder):
    result = run(
        "hi-classify",
        folder / "reference.h5",
        folder / "hot.h5",
        *["--classifier", "event", "--seeds", "2", "--worst", "7", "worst.h5"],
    )
    assert result.returncode == 0, result.stderr
    assert "worst: 7 events" in result.stdout.decode()
    worst, all_of_them = read_all(tmp_path / "worst.h5"), read_all(folder / "hot.h5")
    assert len(worst) == 7
    known = {row.tobytes() for row in all_of_them.events}
    assert all(row.tobytes() in known for row in worst.events)
    assert worst.event("mean_pt").mean() > all_of_them.event("mean_pt").mean()
    described = run("hi-info", "worst.h5").stdout.decode()
    assert "O-O" in described
    assert "hi-classify" in described


def test_the_worst_events_go_down_a_pipe(pipe, folder):
    result = pipe(
        f"hi-classify {folder}/reference.h5 {folder}/hot.h5 --classifier event --seeds 1 "
        "--worst 5 - | hi-info --json"
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["n_events"] == 5
    assert b"auc.event" in result.stderr


def test_standard_output_is_used_once(run, folder):
    pair = folder / "reference.h5", folder / "hot.h5"
    assert_one_line_error(run("hi-classify", *pair, "--worst", 5, "-", "--pass"), "--worst")
    assert_one_line_error(run("hi-classify", *pair, "--worst", 5, "-", "--json"), "--json")
    assert_one_line_error(run("hi-classify", pair[0], "--worst", 5, "w.h5"), "REFERENCE")
    assert_one_line_error(run("hi-classify", *pair, "--worst", 5, "no/w.h5"), "no/w.h5")
    assert_one_line_error(run("hi-classify", *pair, "--worst", 5, folder), "is a folder")


def test_a_terminal_for_the_worst_events_is_refused_before_anything_is_read():
    ours, theirs = pty.openpty()
    words = [script("hi-classify"), "missing.h5", "missing.h5", "--worst", "3", "-"]
    result = subprocess.run(words, stdout=theirs, stderr=subprocess.PIPE, check=False)
    os.close(theirs)
    os.close(ours)
    assert result.returncode == 2
    assert b"standard output is a terminal" in result.stderr
    assert result.stderr.count(b"\n") == 1


def test_events_pass_through_unchanged(run, tmp_path, folder):
    result = run(
        "hi-classify",
        folder / "reference.h5",
        folder / "same.h5",
        *["--classifier", "event", "--seeds", "1", "--pass", "--json", "out.json"],
    )
    assert result.returncode == 0, result.stderr
    (tmp_path / "passed.h5").write_bytes(result.stdout)
    passed, original = read_all(tmp_path / "passed.h5"), read_all(folder / "same.h5")
    np.testing.assert_array_equal(passed.particles, original.particles)
    assert json.loads((tmp_path / "out.json").read_text())["command"] == "hi-classify"


def test_the_figure_is_drawn(run, tmp_path, folder):
    result = run(
        "hi-classify",
        folder / "reference.h5",
        folder / "same.h5",
        *[
            "--classifier",
            "deepsets",
            "--seeds",
            "1",
            "--max-events",
            "200",
            "--plot",
            "roc.pdf",
            "-q",
        ],
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == b""
    assert (tmp_path / "roc.pdf").read_bytes().startswith(b"%PDF")
