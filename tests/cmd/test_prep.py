"""hi-prep: events of others become ours, through files and pipes, and make data sets."""

import gzip
import json
import shutil

import h5py
import numpy as np
import pytest

from hitools.core.features import EVENT_INDEX
from tests.conftest import DATA, assert_one_line_error, read_all

HEPMC = DATA / "angantyr_oo.hepmc.gz"
STATED = ["--system", "O-O", "--sqrt-s-nn", "5360"]


@pytest.fixture
def plain(tmp_path, oo_path):
    """The datasets of the real events alone, in a file that may be spoilt."""
    path = tmp_path / "plain.h5"
    with h5py.File(oo_path) as ours, h5py.File(path, "w") as file:
        file["events"], file["particles"] = ours["events"][:], ours["particles"][:]
    return path


def test_hepmc_becomes_an_event_file_that_says_where_it_came_from(run, tmp_path):
    result = run("hi-prep", HEPMC, *STATED, "--on-bad", "drop", "-o", "a.h5")
    assert result.returncode == 0, result.stderr
    assert result.stderr.decode() == (
        "hi-prep: dropped 1 of 6 events: 1 without particles after the selection\n"
    )
    said = json.loads(run("hi-info", "--json", "--check", "a.h5").stdout)
    assert (said["n_events"], said["system"], said["sqrt_s_nn_gev"]) == (5, "O-O", 5360)
    assert said["selection"] == {"charged": True, "eta_max": 2.5, "pt_min": 0.0}
    assert said["check"]["good"]
    (step,) = said["provenance"]
    assert step["command"].startswith("hi-prep")
    assert "--on-bad drop" in step["command"]
    with np.load(DATA / "angantyr_oo.npz") as pythia:
        np.testing.assert_allclose(
            read_all(tmp_path / "a.h5").weights, pythia["weights"][:5], rtol=1e-6
        )


def test_hepmc_text_and_event_streams_pass_through_pipes(pipe, run, tmp_path, oo_path):
    result = pipe(
        f"zcat {HEPMC} | hi-prep --on-bad drop -q --no-provenance | hi-cat --no-provenance -o a.h5;"
        f"hi-prep {HEPMC} --on-bad drop -q --no-provenance -o b.h5;"
        f"hi-cat {oo_path} | hi-prep - --no-provenance > c.h5"
    )
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "c.h5") as file:
        assert len(file["events"]) == 120
        assert file.attrs["system"] == "O-O"


def test_the_complaints_of_a_library_do_not_get_into_the_stream(run):
    """HepMC3's reader prints to standard output when text breaks off inside an event."""
    text = gzip.decompress(HEPMC.read_bytes())[:60_000]
    result = run("hi-prep", "--on-bad", "drop", stdin=text)
    assert result.stderr == b"hi-prep: dropped 1 of 2 events: 1 cut off in the middle\n"
    said = run("hi-info", "--json", stdin=result.stdout)
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["n_events"] == 1


def test_a_reader_that_stops_early_ends_it_without_a_word(pipe):
    result = pipe(
        f"(for i in $(seq 20); do zcat {HEPMC}; done) | hi-prep --on-bad drop | hi-cat --head 1 "
        "| hi-info --json"
    )
    assert json.loads(result.stdout)["n_events"] == 1
    assert not result.stderr


def test_several_inputs_of_different_formats_make_one_file(run, tmp_path, oo_path):
    inputs = [oo_path, HEPMC, "-"]
    text = gzip.decompress(HEPMC.read_bytes())
    result = run("hi-prep", *inputs, *STATED, "--on-bad", "drop", "-q", "-o", "all.h5", stdin=text)
    assert result.returncode == 0, result.stderr
    said = json.loads(run("hi-info", "--json", "all.h5").stdout)
    assert (said["n_events"], said["system"]) == (130, "O-O")


# Data sets ----------------------------------------------------------------------------------

SPLIT = ["--split", "train=0.6,test=0.3,val=0.1"]


def test_a_data_set_is_the_same_whatever_the_order_in_which_its_events_come(
    pipe, tmp_path, oo, oo_path
):
    split = "hi-prep --split train=0.6,test=0.3,val=0.1"
    result = pipe(f"{split} {oo_path} -o a && hi-cat {oo_path} --shuffle | {split} - -o b")
    assert result.returncode == 0, result.stderr
    parts = {}
    for folder in ("a", "b"):
        files = [tmp_path / folder / f"{name}.h5" for name in ("train", "test", "val")]
        parts[folder] = [{row.tobytes() for row in read_all(path).events} for path in files]
    assert parts["a"] == parts["b"]
    assert sum(map(len, parts["a"])) == len(set.union(*parts["a"])) == len(oo)
    scaling = json.loads((tmp_path / "a" / "scaling.json").read_text())
    train = read_all(tmp_path / "a" / "train.h5")
    mean_b = scaling["events"]["mean"][EVENT_INDEX["b"]]
    assert mean_b == pytest.approx(train.event("b").mean(dtype=np.float64))


def test_a_bad_event_in_the_end_leaves_no_data_set(run, tmp_path, oo_path, plain):
    with h5py.File(plain, "a") as file:
        file["particles"][119, 0, 3] = np.nan
    before = set(tmp_path.iterdir())
    result = run("hi-prep", oo_path, plain, *SPLIT, "-o", "set", "-q")
    assert result.returncode == 2
    assert set(tmp_path.iterdir()) == before


# Bad events ---------------------------------------------------------------------------------


@pytest.fixture
def spoilt(plain):
    with h5py.File(plain, "a") as file:
        file["particles"][20, 0, 4] = np.inf
        file["events"][4, EVENT_INDEX["n_particles"]] += 1
        file["events"][90, EVENT_INDEX["n_particles"]] -= 1
    return plain


def test_the_first_bad_event_is_named_and_nothing_is_written(run, tmp_path, spoilt, oo):
    result = run("hi-prep", spoilt, "-o", "out.h5")
    assert result.returncode == 2
    last = result.stderr.decode().splitlines()[-1]
    n = oo.n_particles[4]
    assert last == (
        f"hi-prep: {spoilt}: event 4: n_particles is {n + 1}, slot {n} is 0 "
        "(--on-bad drop leaves such events out)"
    )
    assert not (tmp_path / "out.h5").exists()


def test_dropped_events_are_counted_by_reason(run, tmp_path, spoilt, oo):
    result = run("hi-prep", spoilt, "--on-bad", "drop", "--eta-max", "0.005", "-o", "out.h5")
    assert result.returncode == 0, result.stderr
    last = result.stderr.decode().splitlines()[-1]
    kept = len(read_all(tmp_path / "out.h5"))
    empty = 120 - 3 - kept
    assert empty > 10
    assert last == (
        f"hi-prep: dropped {empty + 3} of 120 events: "
        f"{empty} without particles after the selection; "
        "2 whose n_particles does not match; 1 with values that are not finite"
    )


def test_files_of_ours_are_checked_too(run, tmp_path, oo_path):
    shutil.copy(oo_path, tmp_path / "in.h5")
    with h5py.File(tmp_path / "in.h5", "a") as file:
        file["particles"][4, 0, 3] = -1
    assert_one_line_error(
        run("hi-prep", "in.h5", "-o", "out.h5"), "event 4: pT of a particle is -1"
    )
    result = run("hi-prep", "in.h5", "--on-bad", "drop", "-o", "out.h5")
    assert result.stderr == b"hi-prep: dropped 1 of 120 events: 1 with a negative pT\n"
    assert run("hi-info", "--check", "out.h5").returncode == 0
    with h5py.File(tmp_path / "in.h5", "a") as file:
        file["particles"][4, 0, 5] = 7
        file["particles"][4, 0, 3] = 1
    result = run("hi-prep", "in.h5", "--on-bad", "drop", "-o", "out2.h5")
    assert_one_line_error(result, "in.h5: event 4: phi of a particle is 7")


def test_an_input_of_bad_events_alone_is_an_error(run, tmp_path, oo_path):
    result = run("hi-prep", oo_path, "--pt-min", "1000", "--on-bad", "drop", "-o", "out.h5")
    assert_one_line_error(result, "no event is left", "dropped 120 of 120")
    assert not (tmp_path / "out.h5").exists()


# What is said of the events ------------------------------------------------------------------


def test_a_file_without_attributes_can_be_given_them(run, tmp_path, plain):
    options = [*STATED, "--assume-charged", "--eta-max", "2.5"]
    run("hi-prep", plain, *options, "-o", "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        assert file.attrs["system"] == "O-O"
        assert json.loads(file.attrs["selection"]) == {
            "charged": True,
            "eta_max": 2.5,
            "pt_min": 0.0,
        }


def test_without_geometry_its_columns_are_0_and_that_is_said(run, tmp_path):
    result = run("hi-prep", HEPMC, "--no-geometry", "--on-bad", "drop", "-o", "out.h5")
    assert b"b, n_coll and n_part are 0" in result.stderr
    assert not read_all(tmp_path / "out.h5").events[:, 5:8].any()


def test_root_branches_are_named_on_the_command_line(run, tmp_path, oo):
    import awkward as ak
    import uproot

    with uproot.recreate(tmp_path / "in.root") as file:
        file.mkrntuple(
            "T",
            {
                "PT": ak.unflatten(1000 * oo.particle("pt"), oo.n_particles),
                **{q: ak.unflatten(oo.particle(q), oo.n_particles) for q in ("eta", "phi")},
                **{q: oo.event(q) for q in ("b", "n_coll", "n_part")},
            },
        )
    options = ["--branch", "pt=PT", "--mev", "--assume-charged", "--tree", "T", "-o", "out.h5"]
    result = run("hi-prep", "in.root", *options)
    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose(
        read_all(tmp_path / "out.h5").particles, oo.particles, rtol=1e-5, atol=1e-5
    )


def test_columns_of_a_table_are_named_on_the_command_line(run, tmp_path, oo, oo_path):
    with h5py.File(oo_path) as ours, h5py.File(tmp_path / "in.h5", "w") as file:
        file["data"], file["jet"] = ours["particles"][:, :, 3:], ours["events"][:, 5:8]
    columns = "--particle-columns pt,eta,phi --event-columns b,n_coll,n_part"
    result = run("hi-prep", "in.h5", *columns.split(), "--assume-charged", "-o", "out.h5")
    assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(read_all(tmp_path / "out.h5").events, oo.events)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--system", "Pb-Pb"], "the input says O-O"),
        (["--sqrt-s-nn", "200"], "the input says 5360 GeV"),
        (["--eta-max", "4"], "can only be tightened"),
        (["--all"], "no neutral ones"),
        (["--all", "--assume-charged"], "exclude each other"),
        (["--split", "train=1"], "--split makes a folder"),
        (["--split", "train=0.5,val=0.4", "-o", "set"], "add up to 0.9"),
        (["--branch", "mass=m"], "expected QUANTITY=NAME with one of pt, eta"),
        (["--particle-columns", "pt,speed"], "'speed'"),
        (["--branch", "pt=a", "--branch", "pt=b"], "--branch gives a quantity twice"),
        (["--eta-max", "nan"], "--eta-max"),
        (["missing.h5"], "missing.h5"),
    ],
)
def test_bad_options_are_one_line(run, tmp_path, oo_path, options, words):
    assert_one_line_error(run("hi-prep", oo_path, *options), words)
    assert not list(tmp_path.iterdir())


def test_a_root_file_cannot_come_through_a_pipe(run, tmp_path):
    import uproot

    with uproot.recreate(tmp_path / "in.root") as file:
        file["tree"] = {"b": np.ones(3)}
    result = run("hi-prep", "-", stdin=(tmp_path / "in.root").read_bytes())
    assert_one_line_error(result, "a ROOT file cannot be read from a pipe")


def test_reading_from_a_plain_file_as_standard_input(pipe, tmp_path, oo_path):
    shutil.copy(oo_path, tmp_path / "in.h5")
    result = pipe("hi-prep < in.h5 | hi-info --json")
    assert json.loads(result.stdout)["n_events"] == 120
