"""Splits: every event in one part, for reasons that lie in the event itself."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.dataset import Split, open_data_set
from hitools.core.errors import InputError
from hitools.core.features import EVENT_INDEX
from hitools.core.format.meta import EventMeta, Selection
from tests.conftest import read_all

TEXT = "train=0.71,test=0.22,val=0.07"
META = EventMeta("O-O", 5360.0, Selection())


def toy(n_events: int, seed: int = 0) -> EventBatch:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 6, n_events)
    pt, eta, phi = rng.uniform(0.1, 2, (3, counts.sum()))
    b, n_coll, n_part = rng.uniform(0, 9, (3, n_events))
    return EventBatch.from_particles(pt, eta, phi, counts, b, n_coll.round(), n_part.round())


def write(folder: Path, batches: list[EventBatch], split: Split) -> None:
    with open_data_set(folder, split, META) as out:
        for batch in batches:
            out.write(batch)


def events_in(folder: Path) -> dict[str, set[bytes]]:
    return {
        path.stem: {row.tobytes() for row in read_all(path).events}
        for path in sorted(folder.glob("*.h5"))
    }


# Which part ---------------------------------------------------------------------------------


def test_parts_have_their_shares_of_the_events():
    parts = Split.parse(TEXT, seed=1).assign(toy(50_000))
    found = np.bincount(parts, minlength=3)
    expected = 50_000 * np.array([0.71, 0.22, 0.07])
    chi_squared = ((found - expected) ** 2 / expected).sum()
    assert chi_squared < 13.8  # one in a thousand, 2 degrees of freedom


def test_different_seeds_give_unrelated_splits():
    batch = toy(20_000)
    same = Split.parse("train=0.5,val=0.5", 1).assign(batch) == Split.parse(
        "train=0.5,val=0.5", 2
    ).assign(batch)
    assert same.mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(20_000))


def test_the_part_of_an_event_does_not_depend_on_its_neighbours(oo):
    split = Split.parse(TEXT, seed=3)
    whole = split.assign(oo)
    order = np.random.default_rng(0).permutation(len(oo))
    np.testing.assert_array_equal(split.assign(oo.take(order)), whole[order])
    one_by_one = [int(split.assign(oo[k : k + 1])[0]) for k in range(len(oo))]
    np.testing.assert_array_equal(one_by_one, whole)


def test_the_order_of_its_particles_does_not_matter(oo):
    split = Split.parse(TEXT, seed=3)
    backwards = [
        EventBatch(e.events, e.particles[::-1], e.offsets)
        for e in (oo[k : k + 1] for k in range(len(oo)))
    ]
    np.testing.assert_array_equal(split.assign(EventBatch.concatenate(backwards)), split.assign(oo))


@pytest.mark.parametrize("change", ["pt", "eta", "phi", "b", "n_coll", "n_part"])
def test_every_quantity_counts(change):
    batch = toy(4000)
    particles, events = batch.particles.copy(), batch.events.copy()
    if change in ("pt", "eta", "phi"):
        first = batch.offsets[:-1]
        column = 3 + ("pt", "eta", "phi").index(change)
        particles[first, column] = np.nextafter(particles[first, column], np.float32(9))
    else:
        column = EVENT_INDEX[change]
        events[:, column] = np.nextafter(events[:, column], np.float32(99))
    split = Split.parse("train=0.5,val=0.5", 1)
    same = split.assign(batch) == split.assign(EventBatch(events, particles, batch.offsets))
    assert same.mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(4000))


# The folder ---------------------------------------------------------------------------------


def test_files_hold_each_event_once_and_never_the_same(tmp_path, oo):
    duplicated = [oo[:50], oo[20:], oo[:120:3]]
    write(tmp_path / "set", duplicated, Split.parse(TEXT, 5))
    parts = events_in(tmp_path / "set")
    assert sum(len(events) for events in parts.values()) == len(oo)
    assert set.union(*parts.values()) == {row.tobytes() for row in oo.events}
    n_written = sum(len(read_all(path)) for path in (tmp_path / "set").glob("*.h5"))
    assert n_written == sum(len(batch) for batch in duplicated)


def test_scaling_is_measured_on_the_training_part_alone(tmp_path, oo):
    write(tmp_path / "set", [oo], Split.parse("train=0.3,rest=0.7", 5))
    scaling = json.loads((tmp_path / "set" / "scaling.json").read_text())
    train = read_all(tmp_path / "set" / "train.h5")
    assert 0 < len(train) < 0.5 * len(oo)
    np.testing.assert_allclose(
        scaling["events"]["mean"], train.events.astype(np.float64).mean(0), rtol=1e-6
    )
    np.testing.assert_allclose(
        scaling["particles"]["std"], train.particles.astype(np.float64).std(0), rtol=1e-6
    )
    assert scaling["eta_max"] == 2.5


def test_the_same_seed_gives_the_same_bytes_and_another_another_split(tmp_path, oo):
    files = {}
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        write(tmp_path / name, [oo], Split.parse(TEXT, seed))
        files[name] = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
    assert files["a"] == files["b"]
    assert events_in(tmp_path / "a") != events_in(tmp_path / "c")


def test_an_interrupted_run_leaves_nothing_new_and_nothing_spoilt(tmp_path, oo):
    write(tmp_path / "old", [oo], Split.parse(TEXT, 1))
    before = {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}

    def fail_in(folder: Path) -> None:
        with open_data_set(folder, Split.parse(TEXT, 2), META) as out:
            out.write(oo)
            raise KeyboardInterrupt

    for name in ("old", "new"):
        with pytest.raises(KeyboardInterrupt):
            fail_in(tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"old"}
    assert {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()} == before


def test_a_second_run_replaces_the_files_and_nothing_else(tmp_path, oo):
    write(tmp_path / "set", [oo], Split.parse(TEXT, 1))
    (tmp_path / "set" / "notes.txt").write_text("mine")
    write(tmp_path / "set", [oo[:60]], Split.parse(TEXT, 1))
    assert sum(len(events) for events in events_in(tmp_path / "set").values()) == 60
    assert (tmp_path / "set" / "notes.txt").read_text() == "mine"
    assert len(list((tmp_path / "set").iterdir())) == 5


def test_a_folder_with_other_event_files_is_refused(tmp_path, oo):
    """They might hold the same events: the split would overlap with an older one."""
    write(tmp_path / "set", [oo], Split.parse(TEXT, 1))
    with pytest.raises(InputError, match=r"holds test\.h5, which would not be a part"):
        write(tmp_path / "set", [oo], Split.parse("train=0.9,val=0.1", 1))


def test_a_data_set_without_training_events_is_refused(tmp_path, oo):
    train = Split.parse("train=0.01,val=0.99", 1)
    unlucky = oo.take(train.assign(oo) == 1)
    with pytest.raises(InputError, match="no event went to the part 'train'"):
        write(tmp_path / "set", [unlucky], train)
    assert not list(tmp_path.iterdir())


def test_every_part_keeps_what_is_known_of_the_events(tmp_path, oo):
    write(tmp_path / "set", [oo], Split.parse(TEXT, 1))
    for path in (tmp_path / "set").glob("*.h5"):
        with h5py.File(path) as file:
            assert file.attrs["system"] == "O-O"
            assert bool(file.attrs["complete"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train=0.7,val=0.2", "add up to 0.9"),
        ("train=0.7,train=0.3", "different names"),
        ("train=0.7,val", "'val' not understood"),
        ("train=0.7,val=-0.3,test=0.6", "'val=-0.3' not understood"),
        ("a=0.5,b=0.5", "no part 'train'"),
        ("train=0.5,../x=0.5", "not understood"),
        ("train=nan,val=1", "not understood"),
        ("", "not understood"),
    ],
)
def test_a_split_that_makes_no_sense_is_refused(text, words):
    with pytest.raises(InputError, match=words):
        Split.parse(text, 1)
