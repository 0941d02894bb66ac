"""Samples that are wrong in a known way: each is caught by a command, and good halves by none.

The gates are those of docs/validation.md. Real commands on files.
"""

import json

import pytest

from tests.cmd.validation_files import DEFECTS, toy_pair, write

GATES = {
    "hi-w1": ["w1_sd.pt<0.015", "w1_sd.evt<0.08"],
    "hi-qclosure": ["q.cos_2_delta_psi>0.98", "q.correlation>0.98"],
    "hi-flow": ["flow.v2_sp.resolution.pull<4", "flow.c2_2.pull<4", "flow.pairs.chi2_ndf<2"],
    "hi-closure": ["closure.pt.chi2_ndf<2", "closure.n_particles.chi2_ndf<2"],
}

CAUGHT = {
    "phi shifted": {"hi-qclosure"},
    "pt scaled": {"hi-w1", "hi-closure"},
    "flow removed": {"hi-flow"},
    "tail cut": {"hi-closure"},
    "swapped": {"hi-qclosure"},
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
    # Toys have few particles above the paper's 4 GeV/c.
    options = ["--trigger-pt", "2"] if command == "hi-flow" else []
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


@pytest.mark.parametrize("command", ["hi-w1", "hi-flow", "hi-closure"])
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
