"""hi-report: the folder, the gates, the exit status."""

import json

import pytest

from hitools.core.batch import EventBatch
from hitools.core.format.meta import EventMeta, Selection
from hitools.core.format.writer import open_writer
from tests.conftest import assert_one_line_error, read_all
from tests.core.toys import toy_events

QUICK = "--classifier event --seeds 1"
FEW = "--skip classify --skip jets --skip flow --skip closure"


def write(path, batch: EventBatch) -> None:
    meta = EventMeta("O-O", 5360.0, Selection(), event_vectors="generated")
    with open_writer(path, meta) as out:
        out.write(batch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("report")
    write(made / "reference.h5", toy_events(300, 1, mean_particles=30))
    write(made / "sample.h5", toy_events(250, 2, mean_particles=30))
    return made


@pytest.fixture(scope="module")
def gates(folder):
    path = folder / "gates.toml"
    path.write_text("require = ['auc.event<0.9', 'w1.pt<0.0001', 'closure.pt.chi2_ndf>100']\n")
    return path


def test_the_folder_holds_page_figures_and_numbers(pipe, tmp_path, folder):
    result = pipe(
        f"hi-cat {folder}/sample.h5 | hi-report {folder}/reference.h5 - {QUICK} -j 2 -o out"
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == b""
    closure = ("closure-events", "closure-particles", "closure-maps")
    names = ("w1", "qclosure", "flow", *closure, "classify", "jets-1", "jets-2")
    for name in names:
        assert (tmp_path / f"out/{name}.pdf").read_bytes().startswith(b"%PDF")
    page = (tmp_path / "out/report.html").read_text()
    assert page.count('src="data:image/') == len(names)
    found = json.loads((tmp_path / "out/report.json").read_text())
    assert found["command"] == "hi-report"
    assert found["inputs"] == [f"{folder}/reference.h5", "-"]
    listed = {q["name"]: q for q in found["quantities"]}
    assert {"w1.part", "auc.event", "jets.per_event.ratio", "flow.v2_sp"} <= set(listed)
    first = {row["name"]: row for row in found["summary"]}
    assert first["w1.part"]["paper"] == 0.00218
    assert first["w1.part"]["value"] == listed["w1.part"]["value"]
    assert first["q.correlation"]["verdict"] == "closes by construction"
    table = result.stdout.decode()
    assert "at the floor" in table
    assert "out/report.html" in table


def test_failing_gates_are_status_1_and_named(run, tmp_path, folder, gates):
    result = run(
        "hi-report",
        folder / "reference.h5",
        folder / "sample.h5",
        *f"{QUICK} --skip jets --skip flow --gates {gates} -o out --require w1.b<100".split(),
    )
    assert result.returncode == 1
    lines = result.stderr.decode().splitlines()
    assert len(lines) == 2
    assert "gate failed: w1.pt<0.0001 (value 0." in lines[0]
    assert "gate failed: closure.pt.chi2_ndf>100" in lines[1]
    page = (tmp_path / "out/report.html").read_text()
    assert "2 of 4 gates fail" in page
    assert not (tmp_path / "out/jets-1.pdf").exists()
    found = json.loads((tmp_path / "out/report.json").read_text())
    assert [gate["holds"] for gate in found["gates"]] == [True, True, False, False]


def test_an_unknown_gate_is_reported_after_the_report_is_written(run, tmp_path, folder):
    result = run(
        "hi-report",
        folder / "reference.h5",
        folder / "sample.h5",
        *f"{FEW} -q --require no.such<1 -o out".split(),
    )
    assert_one_line_error(result, "no.such<1", "no such quantity")
    assert (tmp_path / "out/report.html").exists()


def test_numbers_to_standard_output_and_events_through(run, pipe, tmp_path, folder):
    pair = folder / "reference.h5", folder / "sample.h5"
    result = run("hi-report", *pair, *FEW.split(), "--json", "-o", "out")
    assert result.returncode == 0, result.stderr
    assert result.stdout == (tmp_path / "out/report.json").read_bytes()
    result = run("hi-report", *pair, *FEW.split(), "--pass", "-o", "out")
    assert result.returncode == 0, result.stderr
    assert b"w1.part" in result.stderr
    (tmp_path / "passed.h5").write_bytes(result.stdout)
    passed, original = read_all(tmp_path / "passed.h5"), read_all(pair[1])
    assert passed.particles.tobytes() == original.particles.tobytes()


def test_the_same_inputs_and_seed_give_the_same_files(run, tmp_path, folder):
    pair = folder / "reference.h5", folder / "sample.h5"
    for name in ("a", "b"):
        options = f"{FEW} -q -o {name}"
        assert run("hi-report", *pair, *options.split()).returncode == 0
    for name in ("report.html", "report.json", "w1.pdf"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_bad_usage_is_refused_before_any_work(run, tmp_path, folder, gates):
    pair = folder / "reference.h5", folder / "sample.h5"
    assert_one_line_error(run("hi-report", pair[0]), "REFERENCE SAMPLE")
    (tmp_path / "file").write_text("in the way")
    assert_one_line_error(run("hi-report", *pair, "-o", "file"), "file")
    assert_one_line_error(run("hi-report", *pair, "-o", "file/below"), "file/below")
    bad = tmp_path / "bad.toml"
    bad.write_text("require = ['w1.pt']")
    assert_one_line_error(run("hi-report", *pair, "--gates", bad), "bad.toml", "'w1.pt'")
    assert_one_line_error(run("hi-report", pair[0], pair[0], "-o", "out"), "also in")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "bad.toml"}
