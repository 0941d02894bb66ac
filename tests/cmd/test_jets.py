"""hi-jets as a user runs it: jets to streams, files and text, comparisons, ends of pipes."""

import json
import os
import pty
import signal
import subprocess
import time
import uuid
from pathlib import Path

import h5py
import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.format.jetfile import open_jets
from hitools.core.format.meta import EventMeta, Selection
from hitools.core.format.writer import open_writer
from hitools.core.observables.jets import JetBatch, JetDefinition, find_jets
from tests.conftest import SCRIPTS, assert_one_line_error, read_all, script
from tests.core.observables.jets.support import events_of, reference

META = EventMeta("O-O", 5360.0, Selection(eta_max=2.5))


def write(path, batch, meta=META):
    with open_writer(path, meta) as out:
        out.write(batch)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory, oo):
    """few.h5 with 30 events, other.h5 with 90, and the jets of both."""
    folder = tmp_path_factory.mktemp("jets")
    for name, batch in (("few", oo[:30]), ("other", oo[30:])):
        write(folder / f"{name}.h5", batch)
        subprocess.run(
            [script("hi-jets"), folder / f"{name}.h5", "-o", folder / f"{name}.jets.h5"],
            check=True,
        )
    return folder


def quantities(output):
    return {entry["name"]: entry for entry in json.loads(output)["quantities"]}


# Jets of one input -------------------------------------------------------------------------


def test_nothing_but_jets_goes_down_the_pipe(pipe, folder):
    result = pipe(f"hi-jets {folder}/few.h5 | hi-info -")
    assert result.returncode == 0
    assert result.stderr == b""
    assert b"n_events       30" in result.stdout
    assert b"anti-kT" in result.stdout
    first = pipe(f"hi-jets {folder}/few.h5 | head -c 8")
    assert first.stdout == b"\x89HDF\r\n\x1a\n"


def test_jets_are_those_of_the_library(folder, oo):
    with open_jets(folder / "few.jets.h5") as source:
        found = JetBatch.concatenate(list(source))
        steps = source.meta.events.provenance
    assert found.jets.tobytes() == find_jets(oo[:30], JetDefinition()).jets.tobytes()
    assert steps[-1].program == "hi-jets"
    assert steps[-1].seed == 1


@pytest.mark.parametrize("system", ["oo", "pbpb"])
def test_the_table_has_the_numbers_of_cpp_fastjet(run, tmp_path, system):
    events, expected = reference(system)
    write(tmp_path / "events.h5", events)
    result = run(
        "hi-jets", "events.h5", "--csv", "jets.csv", "--jet-eta-max", 10, "--pt-min", 5,
        "--substructure-pt-min", 5, "-j", 2,
    )  # fmt: skip
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    table = np.genfromtxt(tmp_path / "jets.csv", delimiter=",", names=True)
    names = {
        "event": "event", "jet": "jet", "pt": "pt", "eta": "eta", "phi": "phi",
        "n_constituents": "n_constituents", "wta_rapidity": "wta_rapidity", "wta_phi": "wta_phi",
        "angularity": "angularity", "z_g": "softdrop_zg", "r_g": "softdrop_rg",
        "soft_drop_pt": "softdrop_pt",
    }  # fmt: skip
    for ours, theirs in names.items():
        np.testing.assert_allclose(table[ours], expected[theirs], rtol=1e-6, atol=1e-9)
    assert table["area"].mean() == pytest.approx(expected["area"].mean(), rel=0.01)


def test_the_header_of_the_table(run, folder):
    result = run("hi-jets", folder / "few.jets.h5", "--csv", "-")
    lines = result.stdout.decode().splitlines()
    assert lines[0] == (
        "event,jet,weight,pt,eta,phi,energy,mass,area,n_constituents,rho,rho_all,rho_occupied,"
        "rho_area,pt_subtracted,wta_delta_r,soft_drop_delta_r,z_g,r_g,angularity,"
        "wta_rapidity,wta_phi,soft_drop_pt,soft_drop_eta,soft_drop_phi"
    )
    with open_jets(folder / "few.jets.h5") as source:
        assert len(lines) == 1 + sum(len(batch.jets) for batch in source)


def test_bytes_do_not_depend_on_workers_nor_on_how_events_arrive(pipe, folder, tmp_path):
    few = folder / "other.h5"
    lines = [
        f"hi-jets {few} --no-provenance",
        f"hi-jets {few} --no-provenance -j 3",
        f"hi-cat --no-provenance {few} | hi-jets - --no-provenance -j 2",
    ]
    outputs = [pipe(f"{line} | cat") for line in lines]
    assert all(output.returncode == 0 for output in outputs)
    assert len({output.stdout for output in outputs}) == 1
    assert pipe(f"{lines[0]} --seed 2 | cat").stdout != outputs[0].stdout


def test_options_change_what_they_say(run, folder, tmp_path):
    def jets(*options):
        result = run("hi-jets", folder / "few.h5", *options, "-o", "out.h5")
        assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
        with open_jets(tmp_path / "out.h5") as source:
            return JetBatch.concatenate(list(source)), source.meta.definition

    found, definition = jets(
        "--algorithm", "cambridge", "-R", 0.3, "--pt-min", 3, "--eta-max", 2, "--massless",
        "--constituents", "--rho", "occupied", "--rho-area", "scalar", "--ghost-area", 0.02,
        "--z-cut", 0.2, "--beta", 1, "--substructure-pt-min", 4, "--angularity", "1,0.5",
        "--seed", 9,
    )  # fmt: skip
    assert definition.algorithm == "cambridge"
    assert definition.radius == 0.3
    assert definition.jet_acceptance == pytest.approx(1.7)
    assert definition.particle_mass_gev == 0
    assert definition.areas.rho_definition == "occupied"
    assert definition.seed == 9
    assert found.constituents is not None
    assert np.isfinite(found.jets["angularity_1_0.5"][found.jets["pt"] >= 4]).all()
    bare, _ = jets("--no-area", "--no-substructure")
    assert "area" not in bare.jets.dtype.names
    assert "z_g" not in bare.jets.dtype.names


def test_the_acceptance_follows_the_selection_of_the_events(run, tmp_path, oo):
    write(tmp_path / "narrow.h5", oo[:5], EventMeta(selection=Selection(eta_max=1.5)))
    run("hi-jets", "narrow.h5", "-o", "jets.h5")
    with open_jets(tmp_path / "jets.h5") as source:
        assert source.meta.definition.eta_max == 1.5
        assert source.meta.definition.jet_acceptance == pytest.approx(1.1)


def test_events_at_the_edge_of_what_is_possible(run, tmp_path):
    n = 20_000
    rng = np.random.default_rng(1)
    many = np.stack([np.full(n, 0.4), rng.uniform(-2.5, 2.5, n), rng.uniform(-3, 3, n)], axis=1)
    rows = [
        [[0.2, 0, 0]],
        [[30, 1, 1]],
        [[9, 0.5, 2.0]] * 40,
        [[50, 4.99, 0], [40, -4.99, 1]],
        many,
    ]
    events = events_of(np.concatenate(rows), [len(row) for row in rows])
    write(tmp_path / "odd.h5", events, EventMeta(selection=Selection(eta_max=5.0)))
    result = run("hi-jets", "odd.h5", "--csv", "-", "--jet-eta-max", 6)
    assert result.returncode == 0
    assert result.stderr == b""
    table = np.genfromtxt(result.stdout.decode().splitlines(), delimiter=",", names=True)
    assert list(np.unique(table["event"])) == [1, 2, 3, 4]
    assert table["pt"][table["event"] == 2] == pytest.approx(360, rel=1e-5)
    assert abs(table["eta"][table["event"] == 3]) == pytest.approx(4.99, rel=1e-3)


def test_no_events_are_no_jets_and_no_error(pipe, folder):
    result = pipe(f"hi-cat --head 0 {folder}/few.h5 | hi-jets | hi-info --json -")
    assert result.returncode == 0
    assert b'"n_jets": 0,' in result.stdout


def test_one_input_is_summarised_where_that_is_asked_for(run, folder, tmp_path):
    result = run("hi-jets", folder / "few.jets.h5", "--json", "--plot", "jets.png")
    numbers = quantities(result.stdout)
    with open_jets(folder / "few.jets.h5") as source:
        jets = JetBatch.concatenate(list(source))
    assert numbers["jets.n_jets"]["value"] == len(jets.jets)
    assert numbers["jets.pt.mean"]["value"] == pytest.approx(jets.jets["pt"].mean())
    assert (tmp_path / "jets.png").read_bytes()[:4] == b"\x89PNG"
    assert run("hi-jets", folder / "few.jets.h5", "--require", "jets.n_jets>1e6").returncode == 1


def test_a_terminal_gets_a_table(folder):
    ours, theirs = pty.openpty()
    result = subprocess.run(
        [script("hi-jets"), folder / "few.h5"], stdout=theirs, stderr=subprocess.PIPE, check=True
    )
    os.close(theirs)
    shown = os.read(ours, 100_000)
    os.close(ours)
    assert result.stderr == b""
    assert b"jets.per_event" in shown
    assert b"anti-kT" in shown


# Two inputs --------------------------------------------------------------------------------


def test_jet_files_compare_as_the_events_do(run, folder):
    results = [
        run("hi-jets", folder / f"few{a}.h5", folder / f"other{b}.h5", "--json")
        for a, b in (("", ""), (".jets", ".jets"), ("", ".jets"))
    ]
    assert all(result.returncode == 0 for result in results)
    numbers = [quantities(result.stdout) for result in results]
    assert numbers[0] == numbers[1] == numbers[2]
    assert json.loads(results[0].stdout)["n_events"] == [30, 90]
    for name in ("pt", "eta", "phi", "energy", "mass", "n_constituents", "n_jets", "area", "rho"):
        assert numbers[0][f"jets.{name}.w1"]["floor"] is not None
    assert "jets.pt.within_10" in numbers[0]
    assert "jets.per_event.ratio" in numbers[0]


def test_a_comparison_is_drawn_and_gated(run, folder, tmp_path):
    result = run(
        "hi-jets", folder / "few.jets.h5", folder / "other.jets.h5", "--plot", "fig8.pdf",
        "--require", "jets.pt.w1<1e-6",
    )  # fmt: skip
    assert result.returncode == 1
    assert b"gate failed: jets.pt.w1<1e-06" in result.stderr
    assert b"jets.per_event.ratio" in result.stdout
    assert (tmp_path / "fig8.pdf").read_bytes()[:5] == b"%PDF-"


def test_a_sample_with_harder_particles_is_told_from_the_reference(run, tmp_path, oo):
    column = oo.particle
    harder = EventBatch.from_particles(
        1.05 * column("pt"), column("eta"), column("phi"), oo.n_particles,
        oo.event("b"), oo.event("n_coll"), oo.event("n_part"),
    )  # fmt: skip
    write(tmp_path / "a.h5", oo)
    write(tmp_path / "b.h5", harder)
    numbers = quantities(run("hi-jets", "a.h5", "b.h5", "--json").stdout)
    assert numbers["jets.per_event.ratio"]["value"] > 1.1
    assert numbers["jets.rho.w1"]["value"] > 0.05


def test_events_pass_through_unchanged_while_jets_go_to_a_file(pipe, folder, tmp_path, oo):
    result = pipe(f"hi-cat {folder}/few.h5 | hi-jets --pass -o jets.h5 -j 2 | hi-cat - -o copy.h5")
    assert result.returncode == 0, result.stderr
    assert (read_all(tmp_path / "copy.h5").particles == oo[:30].particles).all()
    with open_jets(tmp_path / "jets.h5") as source:
        assert source.n_events == 30


# Bad usage and bad input -------------------------------------------------------------------


def test_bad_usage_is_one_line(run, folder):
    few, jets = folder / "few.h5", folder / "few.jets.h5"
    for arguments, words in [
        ((few, few, "-o", "x.h5"), ("-o",)),
        ((few, "--csv", "-", "-o", "-"), ("standard output",)),
        ((few, "--json", "--pass"), ("--pass",)),
        ((few, "-R", 0), ("radius",)),
        ((few, "--eta-max", 0.3), ("0.3",)),
        ((few, "--angularity", "1"), ("KAPPA,ALPHA",)),
        ((jets, "--pt-min", 20), ("few.jets.h5", "pt_min 5.0 and 20.0")),
        ((jets, few, "-R", 0.3), ("few.jets.h5", "radius")),
        ((jets, "--pass"), ("--pass", "holds jets")),
        (("missing.h5",), ("missing.h5", "No such file")),
        ((few, "--csv", "nowhere/x.csv"), ("nowhere",)),
    ]:
        assert_one_line_error(run("hi-jets", *arguments), *words)


def test_jet_files_of_different_definitions_are_not_compared(run, folder, tmp_path):
    run("hi-jets", folder / "few.h5", "-R", 0.2, "-o", "narrow.jets.h5")
    result = run("hi-jets", folder / "few.jets.h5", "narrow.jets.h5")
    assert_one_line_error(result, "narrow.jets.h5", "radius 0.4 and 0.2")


def test_nothing_to_compare_is_one_line(run, folder, tmp_path):
    write(tmp_path / "soft.h5", events_of([[0.2, 0, 0]]))
    assert_one_line_error(run("hi-jets", folder / "few.h5", "soft.h5"), "sample")


def test_damage_in_the_middle_is_told_and_leaves_no_file(pipe, folder, tmp_path):
    result = pipe(f"hi-cat {folder}/other.h5 | head -c 200000 | hi-jets - -o out.h5 -j 2")
    assert result.returncode == 2
    assert result.stderr.count(b"\n") == 1
    assert b"ends inside an image" in result.stderr
    assert list(tmp_path.iterdir()) == []


# Workers and the ends of pipes -------------------------------------------------------------


def processes_with(mark: str) -> list[int]:
    """Processes whose environment holds this mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def wait_until_gone(mark: str) -> list[int]:
    deadline = time.monotonic() + 20
    while (left := processes_with(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


@pytest.fixture
def marked():
    """An environment by which all processes of a pipeline can be found."""
    mark = f"HITOOLS_TEST={uuid.uuid4()}"
    name, value = mark.split("=")
    return mark, {**os.environ, "PATH": f"{SCRIPTS}:{os.environ['PATH']}", name: value}


def test_workers_end_when_the_reader_stops_early(folder, marked):
    mark, env = marked
    endless = f"while cat {folder}/other.h5; do :; done 2>/dev/null"
    line = f"{endless} | hi-jets -j 2 | head -c 200 > /dev/null; echo ${{PIPESTATUS[@]:1}}"
    result = subprocess.run(
        ["bash", "-c", line], env=env, capture_output=True, timeout=120, check=True
    )
    assert result.stderr == b""
    assert result.stdout.split() == [str(128 + signal.SIGPIPE).encode(), b"0"]
    assert wait_until_gone(mark) == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_end_with_the_command(folder, marked, how, tmp_path):
    mark, env = marked
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [script("hi-jets"), "-", "-j", "2", "-o", tmp_path / "jets.h5"],
        stdin=reading, env=env, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(reading)
    os.write(writing, (folder / "few.h5").read_bytes())
    deadline = time.monotonic() + 60
    while len(processes_with(mark)) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(processes_with(mark)) == 3
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    os.close(writing)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert err == b""
        assert list(tmp_path.iterdir()) == []
    assert wait_until_gone(mark) == []


def test_jets_of_weighted_events_keep_the_weights(run, tmp_path, oo):
    weights = np.linspace(0.5, 2, 30).astype(np.float32)
    few = oo[:30]
    write(tmp_path / "w.h5", EventBatch(few.events, few.particles, few.offsets, weights))
    run("hi-jets", "w.h5", "-o", "jets.h5")
    with h5py.File(tmp_path / "jets.h5") as file:
        assert file["events"]["weight"][:] == pytest.approx(weights)
        n_jets = file["events"]["n_jets"][:]
    numbers = quantities(run("hi-jets", "jets.h5", "--json").stdout)
    expected = (weights * n_jets).sum() / weights.sum()
    assert numbers["jets.per_event"]["value"] == pytest.approx(expected)
