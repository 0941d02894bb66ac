"""Events in our own format: untouched, or cut so that everything follows from what is left."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.features import EVENT_INDEX, PARTICLE_INDEX
from hitools.core.format import faults
from hitools.core.format.faults import Fault
from hitools.core.format.meta import EventMeta, Selection
from hitools.core.format.reader import open_events
from hitools.core.format.writer import open_writer
from tests.core.sources.reading import read_with_meta as read


def write(path: Path, batch: EventBatch, **meta) -> Path:
    with open_writer(path, EventMeta(**meta)) as out:
        out.write(batch)
    return path


def plain(path: Path, oo_path: Path) -> Path:
    """The two datasets alone, as another group's script writes them."""
    with h5py.File(oo_path) as ours, h5py.File(path, "w") as file:
        file["events"], file["particles"] = ours["events"][:], ours["particles"][:]
    return path


def test_without_limits_events_and_what_is_known_of_them_stay_as_they_are(oo, oo_path):
    batch, meta, found = read(oo_path)
    np.testing.assert_array_equal(batch.events, oo.events)
    np.testing.assert_array_equal(batch.particles, oo.particles)
    assert (meta.system, meta.sqrt_s_nn_gev) == ("O-O", 5360)
    assert meta.selection == Selection()
    with open_events(oo_path) as events:
        assert meta == events.meta
    assert not found


def test_tighter_limits_give_event_vectors_of_the_particles_left(oo, oo_path):
    batch, meta, found = read(oo_path, eta_max=1.0, pt_min=0.5)
    assert meta.selection == Selection(True, 1.0, 0.5)
    good = []
    for k in range(len(oo)):
        _, _, _, pt, eta, phi = oo[k : k + 1].particles.T.astype(np.float64)
        inside = (np.abs(eta) < 1) & (pt > 0.5)
        if not inside.any():
            assert Fault(k, faults.EMPTY, f"no particle is {meta.selection}") in found
            continue
        vector = dict(zip(EVENT_INDEX, batch.events[len(good)], strict=True))
        good.append(k)
        q = (pt * np.exp(2j * phi))[inside].sum()
        expected = {
            "mean_pt": pt[inside].mean(),
            "q_x": q.real,
            "psi_2": np.angle(q) / 2,
            "mean_phi": phi[inside].mean(),
            "n_particles": inside.sum(),
            "b": oo.event("b")[k],
        }
        assert vector == pytest.approx(vector | expected, rel=1e-4, abs=1e-4)
    assert len(good) == len(batch) == len(oo) - len(found)


def test_without_geometry_only_its_columns_change(oo, oo_path):
    batch, _, _ = read(oo_path, geometry=False)
    assert not batch.events[:, 5:8].any()
    others = [0, 1, 2, 3, 4, 8, 9, 10]
    np.testing.assert_array_equal(batch.events[:, others], oo.events[:, others])


def test_limits_turn_generated_event_vectors_into_computed_ones(tmp_path, oo):
    path = write(tmp_path / "a.h5", oo, event_vectors="generated", selection=Selection())
    assert read(path)[1].event_vectors == "generated"
    assert read(path, pt_min=0.2)[1].event_vectors == "particles"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"eta_max": 3.0}, "can only be tightened"),
        ({"pt_min": 0.1}, "can only be tightened"),
        ({"charge": "all"}, "no neutral ones"),
    ],
)
def test_a_selection_cannot_be_widened(tmp_path, oo, options, words):
    path = write(tmp_path / "a.h5", oo, selection=Selection(pt_min=0.15))
    with pytest.raises(InputError, match=words):
        read(path, **options)


def test_events_that_include_neutral_particles_are_not_called_charged(tmp_path, oo):
    path = write(tmp_path / "a.h5", oo, selection=Selection(charged=False))
    assert read(path)[1].selection == Selection(charged=False)
    with pytest.raises(InputError, match="neutral particles are in it"):
        read(path, charge="assumed")


def test_an_unknown_selection_stays_unknown_until_the_user_states_all_of_it(tmp_path, oo, oo_path):
    path = plain(tmp_path / "a.h5", oo_path)
    assert read(path)[1].selection is None
    assert read(path, eta_max=2.0)[1].selection is None
    assert read(path, eta_max=2.0, charge="assumed")[1].selection == Selection(True, 2.0)
    np.testing.assert_array_equal(read(path)[0].events, oo.events)


def test_indices_of_bad_events_count_those_that_were_dropped(tmp_path, oo, oo_path):
    path = plain(tmp_path / "a.h5", oo_path)
    with h5py.File(path, "a") as file:
        file["events"][3, EVENT_INDEX["b"]] = np.nan
        file["events"][5] = 0
        file["particles"][5] = 0
        file["particles"][50, 0, 3] = np.inf
        file["events"][60, EVENT_INDEX["n_particles"]] += 1
    batch, _, found = read(path)
    assert sorted((fault.event, fault.reason) for fault in found) == [
        (3, faults.NOT_FINITE),
        (5, faults.EMPTY),
        (50, faults.NOT_FINITE),
        (60, faults.WRONG_COUNT),
    ]
    np.testing.assert_array_equal(batch.events, oo.take(good_of(oo, [3, 5, 50, 60])).events)


def good_of(oo: EventBatch, bad: list[int]) -> np.ndarray:
    return np.setdiff1d(np.arange(len(oo)), bad)


def test_derived_columns_that_do_not_follow_are_never_dropped(tmp_path, oo_path):
    """Somebody means another thing by them, and in every event."""
    path = plain(tmp_path / "a.h5", oo_path)
    with h5py.File(path, "a") as file:
        file["events"][7, EVENT_INDEX["sum_pt"]] *= 2
    with pytest.raises(InputError, match="event 7: sum_pt is"):
        read(path)


def ours_with(path: Path, oo: EventBatch, particle: str, value: float, **meta) -> Path:
    """A file with all attributes of ours, in which event 7 has a spoilt particle."""
    write(path, oo, selection=Selection(), **meta)
    with h5py.File(path, "a") as file:
        file["particles"][7, 0, PARTICLE_INDEX[particle]] = value
    return path


@pytest.mark.parametrize("vectors", ["particles", "generated"])
def test_a_negative_pt_in_a_file_of_ours_makes_a_bad_event(tmp_path, oo, vectors):
    path = ours_with(tmp_path / "a.h5", oo, "pt", -1, event_vectors=vectors)
    batch, _, found = read(path)
    assert found == [Fault(7, faults.NEGATIVE_PT, "pT of a particle is -1")]
    np.testing.assert_array_equal(batch.events, oo.take(good_of(oo, [7])).events)


@pytest.mark.parametrize("vectors", ["particles", "generated"])
@pytest.mark.parametrize(
    ("particle", "value", "words"),
    [
        ("phi", 7, "phi of a particle is 7, expected -pi to pi"),
        ("pt", 0, "pt of a particle is 0, expected more than 0"),
    ],
)
def test_kinematics_that_cannot_be_are_errors_in_files_of_ours(
    tmp_path, oo, particle, value, words, vectors
):
    path = ours_with(tmp_path / "a.h5", oo, particle, value, event_vectors=vectors)
    with pytest.raises(InputError, match=f"event 7: {words}"):
        read(path)


def test_columns_of_ours_must_follow_unless_a_model_made_them(tmp_path, oo):
    path = ours_with(tmp_path / "a.h5", oo, "pt", 40)
    with pytest.raises(InputError, match=r"event 7: mean_pt is .*, its particles give"):
        read(path)
    path = ours_with(tmp_path / "b.h5", oo, "pt", 40, event_vectors="generated")
    batch, _, found = read(path)
    assert len(batch) == len(oo)
    assert not found
