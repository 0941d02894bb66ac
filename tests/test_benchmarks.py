"""The benchmarks measure what they say, and run."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from hitools.core.format.concatenation import Concatenation
from hitools.core.format.meta import EventMeta, Selection
from hitools.core.format.writer import open_writer
from tests.conftest import script
from tests.core.nets.support import SMALL, lively, random_events

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _beside_each_other(monkeypatch):
    """As where one is run as a script: it finds the others."""
    monkeypatch.syspath_prepend(BENCHMARKS)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{name}.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result


def test_the_padded_network_computes_what_the_packed_one_does(monkeypatch):
    """Else the comparison of their speed would compare different work."""
    padded = load("padded")
    monkeypatch.setattr(padded, "N_MAX", 50)
    model = lively(SMALL)
    slow = padded.PaddedDenoiser(SMALL)
    slow.load_state_dict(model.state_dict())
    x, t, events, offsets = random_events([40, 1, 3, 17])
    packed, dense = (one.particle_velocity(x, t, events, offsets) for one in (model, slow))
    assert (packed - dense).norm() <= 1e-5 * packed.norm()
    gradients = [
        torch.autograd.grad(out.square().sum(), one.body.embed_hidden.weight)[0]
        for one, out in ((model, packed), (slow, dense))
    ]
    assert (gradients[0] - gradients[1]).norm() <= 1e-4 * gradients[0].norm()
    with pytest.raises(ValueError, match="an event of 51 particles"):
        slow.particle_velocity(*random_events([51]))


def test_speeds_are_measured_next_to_the_padded_way(oo_path):
    sizes = ("--batch", 2, "--steps", 1, "--samples", 2)
    result = run(
        *("training", oo_path, "--preset", "quick", *sizes, "--ways", "packed", "padded", "--json")
    )
    measured = json.loads(result.stdout)
    packed, padded = measured["rows"]
    for work in ("train", "sample"):
        assert packed[work]["events_per_s"] > 2 * padded[work]["events_per_s"] > 0
    assert 0 <= packed["train"]["waiting_fraction"] < 1
    assert measured["padded_slots"]["packed"] == 0
    assert 0.7 < measured["padded_slots"]["padded"] < 1


def test_closure_is_tabled_by_solver_and_evaluations(oo_path, tmp_path):
    network = ["width=8", "n_heads=2", "n_blocks=1", "n_head_blocks=1"]
    subprocess.run(
        [script("hi-train"), str(oo_path), "-o", str(tmp_path / "model"), "--preset", "quick"]
        + ["--steps", "2", "--batch", "8"]
        + [word for setting in network for word in ("--net", setting)],
        capture_output=True,
        check=True,
    )
    output, plot = tmp_path / "solvers.md", tmp_path / "solvers.png"
    result = run(
        *("solvers", tmp_path / "model", oo_path, "-n", 6, "-o", output, "--plot", plot),
        *("--solvers", "heun", "ddpm", "--grids", "uniform", "--evaluations", 2, 16),
    )
    assert result.stdout == output.read_text()
    lines = [line.split("|")[1:-1] for line in result.stdout.splitlines() if "|" in line]
    header, _, *rows = [[cell.strip() for cell in line] for line in lines]
    assert [row[:3] for row in rows] == [
        ["reference", "", ""],
        ["heun", "uniform", "2"],
        ["heun", "uniform", "16"],
        ["ddpm", "uniform", "2"],
        ["ddpm", "uniform", "16"],
    ]
    error = header.index("rms d ln pT")
    assert float(rows[2][error]) < float(rows[1][error])  # more evaluations, nearer to the flow
    assert rows[3][error] == ""
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_sample_that_does_not_fit_its_time_is_a_table_without_numbers(oo_path, tmp_path):
    words = ("-n", 1_000_000, "--time-limit", 2, "-o", tmp_path / "scores", "--json")
    found = json.loads(run("scorecard", "oo-5360", "--reference", oo_path, *words).stdout)
    (model,) = found["models"]
    assert {row["reached"] for row in model["rows"]} == {"not measured"}
    assert model["events"] == {"reference": 120, "sample": 0}
    assert "Nothing was measured in the time given: hi-sample" in model["remarks"][-1]


def test_a_device_is_compared_with_the_cpu_part_by_part(oo_path):
    result = run("agreement", oo_path, "-n", 16, "--preset", "quick", "--json")
    rows = json.loads(result.stdout)["rows"]
    parts = {(row["part"], row["precision"]) for row in rows}
    for part in ("attention", "losses", "gradient", "particles"):
        assert {(part, "float32"), (part, "bf16")} <= parts
    for part in ("losses", "gradient", "particles"):
        assert (f"{part}, out of memory", "float32") in parts
    assert all(row["good"] for row in rows)


def test_a_wrong_kernel_is_noticed(monkeypatch, oo):
    monkeypatch.syspath_prepend(BENCHMARKS)
    agreement = load("agreement")
    offsets, cpu = torch.from_numpy(oo.offsets[:20]), torch.device("cpu")

    def row() -> object:
        found = agreement.attention(offsets, cpu, torch.float32)
        return agreement.Row("", "attention", "float32", found)

    assert row().good
    monkeypatch.setattr(agreement, "attend", lambda qkv, _: qkv.mean(1))
    assert not row().good
    assert not agreement.Row("", "losses", "bf16", float("nan")).good


def test_enough_memory_where_half_was_to_be_too_little_is_noticed(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    scarcity = load("agreement").Scarcity()
    with (
        pytest.raises(SystemExit, match="budget was not halved"),
        scarcity.half(lambda: None, torch.device("cpu"), 100),
    ):
        pass


def test_a_way_that_takes_too_long_is_named_and_the_status_says_so(oo_path):
    words = ("--preset", "quick", "--ways", "packed", "--limit", "0.01", "--json")
    result = subprocess.run(
        [sys.executable, str(BENCHMARKS / "training.py"), str(oo_path), *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert json.loads(result.stdout)["rows"] == [
        {"preset": "quick", "way": "packed", "error": "not done after 0.01 s"}
    ]


def gpu_script(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(BENCHMARKS / "gpu.sh"), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHON": sys.executable} | environment,
        check=False,
    )


def test_without_a_gpu_the_measurements_of_one_say_so(oo_path, tmp_path):
    result = gpu_script(oo_path, tmp_path / "out", CUDA_VISIBLE_DEVICES="")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert "sees no GPU" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_step_that_fails_is_named_and_the_others_are_run(oo_path, tmp_path):
    out = tmp_path / "out"
    result = gpu_script(oo_path, out, "cost", "memory", TRIAL="1", MODEL="nobody-s")
    assert result.returncode == 1
    assert "gpu.sh: failed: cost (status" in result.stderr
    assert "memory" not in result.stderr.splitlines()[-1]
    assert len(json.loads((out / "memory.json").read_text())) == 2
    assert "nobody-s" in (out / "log.txt").read_text()


def test_a_cost_in_blocks_smaller_than_those_of_hi_sample_says_so():
    """An event of a small block costs more: hi-sample's own are not to be judged by it."""
    words = ("cost", "oo-5360", "--seconds", 1)
    found = json.loads(run(*words, "--json").stdout)
    assert 3 * found["together"] <= found["n_events"]
    assert found["together"] < found["together_in_hi_sample"]
    assert ", in blocks of " in run(*words).stdout


def test_slices_are_told_from_others_where_they_are_wrong(monkeypatch):
    slices = load("slices")
    network, config = slices.find_model("oo-5360").read_model()
    one = slices.drawn(network, config, 1000)
    kind = config.representation
    assert one.scores.shape == (1000, 9 + kind.n_coarse_features + kind.n_hard_sums)
    monkeypatch.setattr(slices, "SEED", 8)
    other = slices.drawn(network, config, 1000)
    value, error = slices.auc(one.scores, other.scores)
    assert abs(value - 0.5) < 4 * error
    with torch.no_grad():
        network.slices.out.weight *= 0.5
    wrong = slices.drawn(network, config, 1000)
    assert slices.auc(one.scores, wrong.scores)[0] > 0.5 + 8 * error


def test_moments_of_slices_are_those_of_their_particles(oo, tmp_path):
    """|Q_k|^2 / N - 1 from the slices, and from phi of the particles."""
    slices = load("slices")
    _, config = slices.find_model("oo-5360").read_model()
    whole = oo.take((oo.n_particles > 0).nonzero()[0])
    path = tmp_path / "whole.h5"
    with open_writer(path, EventMeta("O-O", 5360.0, Selection())) as out:
        out.write(whole)
    sums = slices.real(config.representation, str(path), len(whole)).sums
    ours = slices.moments(config.representation, sums)["n.2.excess"][0]
    phi = np.split(whole.particle("phi").astype(float), whole.offsets[1:-1])
    truth = [abs(np.exp(2j * one).sum()) ** 2 / len(one) - 1 for one in phi]
    assert ours == pytest.approx(np.mean(truth), abs=0.02)


def test_a_fault_shows_from_its_stage_on(oo_path):
    """Slices that go twice as far are noticed from slices on, and not where real ones are given."""
    stages = load("stages")
    right = stages.Stages("oo-5360")
    wrong = stages.Stages("oo-5360")
    with torch.no_grad():
        wrong._generator._model.slices.out.weight *= 2

    def table(of):
        batches = stages.real_events(str(oo_path), 100, 2)
        return stages.rows(stages.measured(of, batches, with_particles=True))

    good, bad = table(right), table(wrong)
    assert list(good) == list(bad)
    assert set(good["resolution"]) == {"real", *stages.STAGES}
    assert set(good["pt_2 own"]) == {"real", "slices", "hard"}
    assert bad["resolution"]["particles"] == good["resolution"]["particles"]
    for stage in ("slices", "hard"):
        less, error = good["n_1 own"][stage]
        assert abs(less) < 4 * error
        less, error = bad["n_1 own"][stage]
        assert less > 4 * error


def test_real_events_of_stages_are_those_of_the_file(oo, oo_path):
    """Slices, hard particles included, add up to the vectors of an event's particles."""
    stages = load("stages")
    of_model = stages.Stages("oo-5360")
    batch = next(stages.real_events(str(oo_path), 100))
    some = of_model.real(batch, 0)
    kind = of_model.representation
    totals = kind.totals(some.given, some.counts, some.hard_sums)[:, : kind.n_coarse_features]
    of_slices = (totals.unflatten(1, (5, -1)) * totals.new_tensor(kind.slices.sums.scales)).sum(1)
    turn = np.repeat(batch.event("psi_2"), batch.n_particles)
    wave = np.exp(2j * (batch.particle("phi") - turn).astype(np.float64))
    direct = np.add.reduceat(wave, batch.offsets[:-1])
    column = kind.slices.sums.names.index("n_cos_2")
    assert np.abs(of_slices[:, column].numpy() - direct.real).max() < 0.05
    # Between the halves as hi-flow has it.
    phi, eta, pt = (batch.particle(name).astype(np.float64) for name in ("phi", "eta", "pt"))
    q = [
        np.add.reduceat(np.exp(2j * phi) * pt * side, batch.offsets[:-1])
        for side in (eta > 0.5, eta < -0.5)
    ]
    found = stages.resolution(batch)["resolution"]
    both = np.isfinite(found)
    assert both.sum() > 90
    expected = np.cos(np.angle(q[0]) - np.angle(q[1]))
    np.testing.assert_allclose(found[both], expected[both], atol=1e-5)


def test_shapes_of_events_are_those_of_their_pairs():
    by_size = load("by_size")
    pt, eta, phi = np.array([1.0, 4.0, 2.0]), np.array([0.5, 0.2, -2.0]), np.array([3.1, -3.1, 0.1])
    found = by_size.shape(pt, eta, phi)
    assert (found["hardest pT"], found["second pT"], found["lowest pT"]) == (4, 2, 1)
    across = 2 * np.pi - 6.2  # over the seam
    assert found["closest pair"] == pytest.approx(np.hypot(0.3, across))
    assert found["pairs within 0.4"] == pytest.approx(1 / 3)
    assert found["cos of near pairs"] == pytest.approx(np.cos(across))
    assert found["cos of far pairs"] == pytest.approx((np.cos(3.2) + np.cos(3.0)) / 2)
    total = [(pt * wave(phi)).sum() for wave in (np.cos, np.sin)]
    assert found["|sum of pT vectors|"] == pytest.approx(np.hypot(*total))


def test_impossible_collisions_are_told_by_size():
    """In a fifth of the events, which no single number shows."""
    by_size = load("by_size")
    rng = np.random.default_rng(1)

    def events(n: int, share: float):
        vectors = rng.normal(size=(n, 11))
        n_part = rng.integers(2, 6, n)
        more = rng.random(n) < share
        vectors[:, by_size.EVENT_INDEX["n_part"]] = n_part
        vectors[:, by_size.EVENT_INDEX["n_coll"]] = n_part - 1 + more
        return by_size.Events(vectors, rng.normal(size=(n, 2)), ("one", "cos of far pairs"))

    real, same, wrong = events(4000, 0), events(4000, 0), events(4000, 0.2)
    right = by_size.row(real, same)
    for name in ("n_part, n_coll", "event vector", "particles"):
        assert abs(right[name] - 0.5) < 4 * right["error"]
    far = right["balance"]
    assert far["error"] == pytest.approx(np.sqrt(2 / 4000), rel=0.1)
    assert 0 < abs(far["drawn"] - far["real"]) < 4 * far["error"]
    found = by_size.row(real, wrong)
    assert found["n_part, n_coll"] > 0.5 + 6 * found["error"]
    assert abs(found["particles"] - 0.5) < 4 * found["error"]
    assert max(found["telling"].values()) < found["n_part, n_coll"]


def test_too_few_events_of_a_size_are_a_sentence(oo_path):
    command = [sys.executable, str(BENCHMARKS / "by_size.py"), str(oo_path), str(oo_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 2
    assert "particles, 100 or more expected" in result.stderr


def test_hard_particles_that_a_model_says_wrong_are_noticed(oo_path):
    hard = load("hard")
    network = hard.drawing_hard("oo-5360")
    n = 100
    pairs, costs = hard.of_file(network, str(oo_path), n)
    with Concatenation((str(oo_path),)) as batches:
        counts = np.concatenate([batch.n_particles for batch in batches])
    drawn_so = counts[counts > 0][:n] >= network.representation.whole_below
    assert len(costs) == drawn_so.sum() > n / 4
    right = hard.rows(pairs)
    assert len(right) == 2 * (len(hard.DISTANCES) - 1)
    for name, row in right.items():
        assert abs(row["model"] - row["real"]) < 4.5 * row["error"], name
    with torch.no_grad():
        network.hard.partner_out.bias.view(-1, 3)[:, 0] -= 50  # no jets
    pairs, costs_without = hard.of_file(network, str(oo_path), n)
    assert costs_without.mean() > costs.mean() + 0.1
    near = "cos1, 0 to 0.2"
    assert hard.rows(pairs)[near]["model"] < right[near]["model"] - 0.1


def test_pairs_of_hard_particles_are_all_of_an_event():
    """Against two loops."""
    hard = load("hard")
    counts = [3, 0, 1, 4]
    nothing = torch.zeros(0)
    events = hard.ListedEvents(nothing, torch.tensor(counts), *(4 * [nothing]))
    one, other, event = hard._pairs(events)
    expected = [
        (start + i, start + j, k)
        for k, start in enumerate(np.cumsum([0, *counts[:-1]]))
        for i in range(counts[k])
        for j in range(i)
    ]
    assert sorted(zip(one.tolist(), other.tolist(), event.tolist(), strict=True)) == expected
