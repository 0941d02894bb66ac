"""Samples that are wrong in a known way: each is caught by a command, and good halves by none.

Real commands on files of toy events: the real events of the tests are too few for any gate. The
defects are those of benchmarks/defects.py, which makes the table of docs/validation.md from real
events.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cmd.validation_files import DEFECTS, toy_pair, write

GATES = {
    "hi-w1": ["w1_sd.pt<0.015", "w1_sd.evt<0.08"],
    "hi-qclosure": ["q.cos_2_delta_psi>0.98", "q.correlation>0.98"],
    "hi-flow": ["flow.v2_sp.resolution.pull<4", "flow.c2_2.pull<4", "flow.pairs.chi2_ndf<2"],
    "hi-closure": ["closure.pt.chi2_ndf<2", "closure.n_particles.chi2_ndf<2"],
    "hi-jets": ["jets.pt.w1<0.1", "jets.n_constituents.chi2_ndf<2.5"],
    "hi-classify": ["p_value.event>0.001"],
}

# Toys have few particles above the paper's 4 GeV/c, and few jets.
OPTIONS = {
    "hi-flow": ["--trigger-pt", "2"],
    "hi-jets": ["--pt-min", "3", "--no-area", "--no-substructure"],
    "hi-classify": ["--classifier", "event", "--seeds", "1", "--max-events", "2000"],
}

CAUGHT = {
    "phi shifted": {"hi-qclosure"},
    "pT x 1.02": {"hi-w1", "hi-closure"},
    "flow removed": {"hi-flow", "hi-classify"},
    "tail cut": {"hi-closure", "hi-jets"},
    "swapped": {"hi-qclosure"},
    "mixed": {"hi-flow"},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("defects")
    reference, sample = toy_pair()
    paths = {
        "reference": write(folder / "reference.h5", reference),
        "good": write(folder / "good.h5", sample),
    }
    for name, break_events in DEFECTS.items():
        path = folder / f"{name.replace(' ', '_')}.h5"
        paths[name] = write(path, break_events(sample), generated=True)
    return paths


def judge(run, command, files, sample):
    """Exit status of the command with all its gates."""
    options = [*OPTIONS.get(command, [])]
    options += [word for gate in GATES[command] for word in ("--require", gate)]
    inputs = [files[sample]] if command == "hi-qclosure" else [files["reference"], files[sample]]
    return run(command, "-q", *inputs, *options)


@pytest.mark.parametrize(
    ("defect", "command"),
    [(defect, command) for defect, commands in CAUGHT.items() for command in sorted(commands)],
)
def test_a_known_defect_is_caught(run, files, defect, command):
    result = judge(run, command, files, defect)
    assert result.returncode == 1, result.stderr
    assert b"gate failed" in result.stderr


def test_every_defect_is_caught_by_a_command():
    assert set(CAUGHT) == set(DEFECTS)
    assert all(CAUGHT.values())


@pytest.mark.parametrize("command", ["hi-w1", "hi-flow", "hi-closure", "hi-jets", "hi-classify"])
def test_two_halves_of_one_sample_pass(run, files, command):
    result = judge(run, command, files, "good")
    assert result.returncode == 0, result.stderr
    assert result.stderr == b""


def test_good_halves_close_by_construction_which_is_no_certificate(run, files):
    result = run("hi-qclosure", files["good"], "--require", "q.by_construction>0", "--json")
    assert result.returncode == 0
    quantities = {q["name"]: q for q in json.loads(result.stdout)["quantities"]}
    assert quantities["q.correlation"]["value"] is None
    assert run("hi-qclosure", "-q", files["good"], "--require", "q.rms<1").returncode == 1


def test_the_script_prints_the_table_and_ends_with_status_1_where_a_defect_is_missed(files):
    script = Path(__file__).parents[2] / "benchmarks" / "defects.py"
    result = subprocess.run(
        [sys.executable, script, files["reference"], "--events", "3000", "--check", "hi-qclosure"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    head, _, *rows = result.stdout.splitlines()
    names = [cell.strip() for cell in head.strip("|").split("|")]
    assert names == ["command", "quantity", "gate", "floor", "good half", *DEFECTS]
    assert len(rows) == 2
    cells = dict(zip(names, (x.strip() for x in rows[0].strip("|").split("|")), strict=True))
    assert cells["good half"] == "by constr."
    assert cells["swapped"].startswith("**")
    assert result.stderr.splitlines()[-1] == "not caught: pT x 1.02, flow removed, tail cut, mixed"
