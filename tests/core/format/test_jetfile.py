"""Jet files and streams keep every number, and refuse what is damaged or does not belong."""

import io
import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from hitools.core.errors import InputError
from hitools.core.format.jetcsv import open_csv
from hitools.core.format.jetfile import JetMeta, _Jets, open_jet_writer, open_jets
from hitools.core.format.jetsource import JetSource, agreed_definition
from hitools.core.format.layout import ON_A_PIPE
from hitools.core.format.meta import EventMeta, Selection
from hitools.core.format.reader import open_events
from hitools.core.format.writing import StreamWriter
from hitools.core.observables.jets import JetBatch, JetDefinition, find_jets

DEFINITION = JetDefinition(constituents=True)
META = JetMeta(DEFINITION, EventMeta("O-O", 5360.0, Selection(eta_max=2.5)))


@pytest.fixture(scope="module")
def jets(oo):
    return find_jets(oo, DEFINITION)


@pytest.fixture
def path(tmp_path, jets):
    with open_jet_writer(tmp_path / "oo.jets.h5", META) as out:
        out.write(jets[:50])
        out.write(jets[50:])
    return tmp_path / "oo.jets.h5"


def read(path):
    with open_jets(path) as source:
        return JetBatch.concatenate([JetBatch.empty(source.meta.definition), *source]), source.meta


def stream_of(batches, meta=META):
    out = io.BytesIO()
    with StreamWriter(out, _Jets(meta.definition), meta, ON_A_PIPE) as writer:
        for batch in batches:
            writer.write(batch)
    return out.getvalue()


def same(a, b):
    return (
        a.jets.tobytes() == b.jets.tobytes()
        and a.events.tobytes() == b.events.tobytes()
        and (a.constituents == b.constituents).all()
    )


def test_a_file_keeps_every_number_and_where_it_came_from(path, jets):
    found, meta = read(path)
    assert same(found, jets)
    assert meta.events == META.events
    assert replace(meta.definition, jet_eta_max=None) == DEFINITION


def test_plain_h5py_reads_it(path, jets):
    with h5py.File(path) as file:
        assert file["jets"]["pt"][:5] == pytest.approx(jets.jets["pt"][:5])
        assert len(file["events"]) == len(jets)
        assert file.attrs["format"] == "hitools-jets"
        assert file.attrs["rho_definition"] == "all"
        assert tuple(file.attrs["jet_columns"]) == file["jets"].dtype.names
        assert len(file.attrs["jet_units"]) == len(file.attrs["jet_columns"])
        definition = json.loads(file.attrs["definition"])
        assert definition["background"]["hardest_excluded"] == 2


def test_streams_and_files_concatenate(path, jets, tmp_path):
    joined = tmp_path / "joined"
    joined.write_bytes(stream_of([jets[:30]]) + path.read_bytes() + stream_of([jets[30:]]))
    found, _ = read(joined)
    assert same(found, JetBatch.concatenate([jets[:30], jets, jets[30:]]))


def test_bytes_of_a_stream_do_not_depend_on_how_jets_arrived(jets):
    one = stream_of([jets])
    assert one == stream_of([jets[:1], jets[1:77], jets[77:]])


def test_events_without_jets_and_no_events_at_all(tmp_path, jets):
    empty = JetBatch.empty(DEFINITION)
    for batch in (empty, jets[np.flatnonzero(jets.events["n_jets"] == 0)[0] :][:1]):
        with open_jet_writer(tmp_path / "few.h5", META) as out:
            out.write(batch)
        found, _ = read(tmp_path / "few.h5")
        assert len(found) == len(batch)
        assert len(found.jets) == 0


def test_a_stream_that_is_cut_off_is_an_error(tmp_path, jets):
    cut = tmp_path / "cut"
    cut.write_bytes(stream_of([jets])[:-1000])
    with pytest.raises(InputError, match="ends"):
        read(cut)


def test_jets_of_another_definition_in_one_input_are_refused(tmp_path, jets, oo):
    other = JetDefinition(radius=0.3, constituents=True)
    meta = replace(META, definition=other)
    both = tmp_path / "both"
    both.write_bytes(stream_of([jets]) + stream_of([find_jets(oo[:2], other)], meta))
    with pytest.raises(InputError, match=r"from event 120 on have another definition: radius 0\.4"):
        read(both)


def test_another_seed_of_ghosts_is_no_other_definition(tmp_path, jets):
    meta = replace(META, definition=replace(DEFINITION, seed=7))
    both = tmp_path / "both"
    both.write_bytes(stream_of([jets]) + stream_of([jets], meta))
    assert len(read(both)[0]) == 2 * len(jets)


def damage(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


def set_rows(name, column, value):
    def change(file):
        rows = file[name][:]
        rows[column][0] = value
        file[name][:] = rows

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda file: file.attrs.__delitem__("complete"), "not complete"),
        (lambda file: file.attrs.__setitem__("format_version", 9), "reads up to 1"),
        (lambda file: file.attrs.__setitem__("definition", "anti-kT"), "definition"),
        (lambda file: file.attrs.__setitem__("definition", '{"radius": -1}'), "radius"),
        (lambda file: file.attrs.__setitem__("definition", '{"areas": null}'), "columns"),
        (lambda file: file.__delitem__("jets"), "no dataset 'jets'"),
        (lambda file: file.__delitem__("constituents"), "no dataset 'constituents'"),
        (set_rows("events", "n_jets", 77), "numbers of jets"),
        (set_rows("events", "n_jets", -1), "negative number of jets"),
        (set_rows("events", "weight", -1.0), "negative weight"),
        (set_rows("jets", "event", 99), "numbers of jets"),
        (set_rows("jets", "pt", np.nan), "finite"),
        (set_rows("jets", "n_constituents", 0), "constituents"),
        (set_rows("jets", "n_constituents", 10_000), "constituents missing"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(path, change, words):
    damage(path, change)
    with pytest.raises(InputError, match=words):
        read(path)


def test_links_out_of_the_file_are_refused(path, tmp_path):
    (tmp_path / "other.h5").write_bytes(path.read_bytes())

    def link(file):
        del file["jets"]
        file["jets"] = h5py.ExternalLink("other.h5", "jets")

    damage(path, link)
    with pytest.raises(InputError, match="plain dataset"):
        read(path)


def test_events_are_no_jets_and_jets_no_events(path, oo_path):
    with pytest.raises(InputError, match="expected 'hitools-jets'"):
        open_jets(oo_path)
    with pytest.raises(InputError, match="events"):
        open_events(path)


# A name behind which there are events or jets ----------------------------------------------


def test_jets_come_from_a_jet_file_or_from_events(path, oo_path, jets):
    with JetSource(path) as ready, JetSource(oo_path) as raw:
        assert raw.definition is None
        assert raw.eta_max == 2.5
        definition = agreed_definition([raw, ready], JetDefinition(radius=0.9), asked_for=False)
        assert definition.radius == 0.4
        assert same(JetBatch.concatenate(list(ready.jets(definition, 1))), jets)
        assert same(JetBatch.concatenate(list(raw.jets(definition, 1))), jets)


def test_a_jet_file_must_be_what_is_asked_for(path):
    with JetSource(path) as source:
        wanted = JetDefinition(pt_min=20.0)
        with pytest.raises(InputError, match=r"pt_min 5\.0 and 20\.0"):
            agreed_definition([source], wanted, asked_for=True)
        agreed_definition([source], JetDefinition(seed=5), asked_for=True)


# Text --------------------------------------------------------------------------------------


def test_text_holds_the_same_numbers(tmp_path, jets):
    with open_csv(str(tmp_path / "jets.csv"), DEFINITION) as out:
        out.write(jets[:40])
        out.write(jets[40:])
    table = np.genfromtxt(tmp_path / "jets.csv", delimiter=",", names=True)
    assert len(table) == len(jets.jets)
    assert (table["event"] == jets.jets["event"]).all()
    assert (table["jet"] == jets.rank).all()
    for name in ("pt", "eta", "phi", "mass", "area", "z_g", "angularity", "soft_drop_pt"):
        np.testing.assert_allclose(table[name], jets.jets[name], rtol=1e-9)
    np.testing.assert_allclose(table["rho"], jets.events["rho"][jets.jets["event"]], rtol=1e-9)


def test_text_has_the_same_first_columns_whatever_was_computed(tmp_path, oo):
    bare = JetDefinition(areas=None, substructure=None)
    with open_csv(str(tmp_path / "bare.csv"), bare) as out:
        out.write(find_jets(oo[:20], bare))
    table = np.genfromtxt(tmp_path / "bare.csv", delimiter=",", names=True)
    for name in ("area", "rho", "wta_delta_r", "z_g", "angularity"):
        assert np.isnan(table[name]).all()
    assert np.isfinite(table["pt"]).all()


def test_text_is_written_whole_or_not_at_all(tmp_path, jets):
    def interrupted():
        with open_csv(str(tmp_path / "jets.csv"), DEFINITION) as out:
            out.write(jets)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="does not exist"), open_csv("nowhere/x.csv", DEFINITION):
        pass
