"""What hi-w1, hi-qclosure, hi-flow and hi-closure share: table, JSON, pipes, gates, figures."""

import json
import resource

import numpy as np
import pytest

from tests.conftest import assert_one_line_error, read_all

COMMANDS = {
    "hi-w1": ("w1.pt", "w1_sd.evt"),
    "hi-qclosure": ("q.correlation.x", "q.cos_2_delta_psi"),
    "hi-flow": ("flow.v2_sp.resolution", "flow.c2_4"),
    "hi-closure": ("closure.pt.chi2_ndf", "closure.eta:pt.median"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_json_and_table_hold_the_same_numbers(run, pair, name):
    text = run(name, *pair)
    assert text.returncode == 0, text.stderr
    assert text.stderr == b""
    result = json.loads(run(name, *pair, "--json").stdout)
    assert result["command"] == name
    assert result["inputs"] == [str(p) for p in pair]
    quantities = {q["name"]: q for q in result["quantities"]}
    assert len(quantities) == len(result["quantities"])
    rows = {line.split()[0]: line for line in text.stdout.decode().splitlines() if line.strip()}
    for quantity in COMMANDS[name]:
        value = quantities[quantity]["value"]
        assert value is not None
        assert quantities[quantity]["error"] > 0
        assert f"{value:.4g}" in rows[quantity]
    assert set(quantities) <= set(rows)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_same_events_give_the_same_bytes_from_files_and_pipes(run, pipe, pair, name):
    reference, sample = pair
    from_file = run(name, reference, sample, "--json").stdout
    piped = pipe(
        f"cat <(hi-cat {sample} --head 100) <(hi-cat {sample} --events 100:) "
        f"| {name} {reference} - --json"
    )
    assert piped.returncode == 0, piped.stderr
    assert piped.stdout == from_file.replace(str(sample).encode(), b"-")
    assert run(name, reference, sample, "--json").stdout == from_file


@pytest.mark.parametrize("name", COMMANDS)
def test_pass_lets_the_sample_through_and_reports_beside_it(pipe, tmp_path, pair, name):
    reference, sample = pair
    result = pipe(f"hi-cat {sample} | {name} {reference} - --pass --json n.json | hi-cat -o out.h5")
    assert result.returncode == 0, result.stderr
    assert COMMANDS[name][0] in result.stderr.decode()
    before, after = read_all(sample), read_all(tmp_path / "out.h5")
    np.testing.assert_array_equal(before.particles, after.particles)
    np.testing.assert_array_equal(before.events, after.events)
    assert json.loads((tmp_path / "n.json").read_text())["command"] == name


@pytest.mark.parametrize("name", COMMANDS)
def test_one_input_is_enough(run, pair, name):
    result = run(name, pair[1], "--json")
    assert result.returncode == 0, result.stderr
    assert len(json.loads(result.stdout)["quantities"]) > 10


@pytest.mark.parametrize("name", COMMANDS)
def test_a_gate_decides_the_exit_status(run, pair, name):
    quantity = COMMANDS[name][0]
    assert run(name, "-q", *pair, "--require", f"{quantity}>-100").returncode == 0
    failed = run(name, "-q", *pair, "--require", f"{quantity}<-100")
    assert failed.returncode == 1
    assert f"gate failed: {quantity}" in failed.stderr.decode()
    assert_one_line_error(run(name, "-q", *pair, "--require", "nothing<1"), "nothing")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_figure_is_written(run, tmp_path, pair, name):
    result = run(name, "-q", *pair, "--plot", "figure.svg")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "figure.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize("name", COMMANDS)
def test_an_input_without_events_is_an_error(run, tmp_path, pair, name):
    run("hi-cat", pair[0], "--head", 0, "-o", "none.h5")
    assert_one_line_error(run(name, tmp_path / "none.h5"), "none.h5", "no events")
    assert_one_line_error(run(name, pair[0], tmp_path / "none.h5"), "none.h5")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_the_quantities_and_comes_fast(run, name):
    def processor_time() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = processor_time()
    result = run(name, "--help")
    assert processor_time() - before < 1  # seconds; 0.1 here, and 1.8 more with torch
    assert b"--require" in result.stdout


def test_real_events_pass_through_all_four_in_one_pipe(pipe, oo_path):
    result = pipe(
        f"hi-cat {oo_path} | hi-qclosure --pass -q | hi-w1 --pass -q | hi-flow --pass -q "
        "| hi-closure -q --json"
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == b""
    assert json.loads(result.stdout)["n_events"] == [120, 0]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("hi-w1 --memory lots {}", "lots"),
        ("hi-w1 --phi maybe {}", "maybe"),
        ("hi-qclosure --bins pt:1,2 {}", "pt:1,2"),
        ("hi-flow --harmonics 2,2 {}", "harmonics"),
        ("hi-flow --harmonics 0 {}", "harmonics"),
        ("hi-flow --pt-bins 3,1 {}", "ascending"),
        ("hi-flow --reference-pt 5:1 {}", "LOW:HIGH"),
        ("hi-closure --pair pt:b {}", "pt:b"),
        ("hi-closure --n-bins 1 {}", "n-bins"),
        ("hi-w1 {} --plot figure.gif", "figure.gif"),
        ("hi-w1 {} --plot nowhere/figure.pdf", "nowhere"),
        ("hi-w1 {} {} {}", "one or two"),
    ],
)
def test_bad_usage_is_one_line(run, pair, command, words):
    name, *arguments = command.format(*[pair[0]] * 3).split()
    assert_one_line_error(run(name, *arguments), words)
