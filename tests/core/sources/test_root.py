"""ROOT trees written by uproot give back the events that went in."""

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.format import faults
from hitools.core.format.faults import Fault
from tests.core.sources.reading import read


def columns_of(oo: EventBatch) -> dict[str, ak.Array | np.ndarray]:
    """The branches of a tree that holds the real events."""
    jagged = {
        name: ak.unflatten(oo.particle(name), oo.n_particles) for name in ("pt", "eta", "phi")
    }
    charge = ak.unflatten(np.where(np.arange(len(oo.particles)) % 2, 1, -1), oo.n_particles)
    return {
        **jagged,
        "charge": charge,
        "b": oo.event("b"),
        "n_coll": oo.event("n_coll").astype(np.int32),
        "n_part": oo.event("n_part").astype(np.int32),
    }


def write(path: Path, columns, tree: str = "events", **others) -> Path:
    with uproot.recreate(path) as file:
        for name, content in {tree: columns, **others}.items():
            first = {key: values[:70] for key, values in content.items()}
            types = {
                key: values.type.content if isinstance(values, ak.Array) else values.dtype
                for key, values in content.items()
            }
            out = file.mktree(name, types)
            out.extend(first)
            out.extend({key: values[70:] for key, values in content.items()})
    return path


def assert_same(batch: EventBatch, oo: EventBatch) -> None:
    np.testing.assert_array_equal(batch.particles, oo.particles)
    np.testing.assert_array_equal(batch.events, oo.events)


def test_a_tree_with_our_names_needs_no_option(tmp_path, oo):
    batch, found = read(write(tmp_path / "no_telling_name", columns_of(oo)))
    assert_same(batch, oo)
    assert batch.weights is None
    assert not found


def test_an_rntuple_is_read_too(tmp_path, oo):
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        file.mkrntuple("events", columns_of(oo))
    assert_same(read(path)[0], oo)


def test_branches_of_other_names_and_momenta_in_mev(tmp_path, oo):
    pt, eta, phi = (oo.particle(name).astype(np.float64) for name in ("pt", "eta", "phi"))
    cartesian = {"X": pt * np.cos(phi), "Y": pt * np.sin(phi), "Z": pt * np.sinh(eta)}
    # Every pion is followed by a photon, and each event ends with what decayed.
    doubled = {
        name: ak.unflatten(np.repeat(1000 * values, 2), 2 * oo.n_particles)
        for name, values in cartesian.items()
    }
    kind = ak.unflatten(np.tile([211, 22], len(pt)), 2 * oo.n_particles)
    decayed = ak.Array([[443]] * len(oo))
    columns = {
        **{name: ak.concatenate([values, decayed], axis=1) for name, values in doubled.items()},
        "kind": ak.concatenate([kind, decayed], axis=1),
        "state": ak.concatenate([kind * 0 + 1, decayed * 0 + 2], axis=1),
        "impact": oo.event("b"),
        "collisions": oo.event("n_coll"),
        "hit_left": np.ones(len(oo), np.int64),
        "hit_right": oo.event("n_part").astype(np.int64) - 1,
        "w": np.linspace(1, 2, len(oo)),
    }
    path = write(tmp_path / "a.root", columns, "deep/tree", other=columns_of(oo))
    batch, _ = read(
        path,
        tree="deep/tree",
        gev_per_unit=1e-3,
        branches={
            "px": "X",
            "py": "Y",
            "pz": "Z",
            "pid": "kind",
            "status": "state",
            "b": "impact",
            "n_coll": "collisions",
            "n_part": "hit_left+hit_right",
            "weight": "w",
        },
    )
    np.testing.assert_array_equal(batch.n_particles, oo.n_particles)
    np.testing.assert_allclose(batch.particles[:, 3:], oo.particles[:, 3:], rtol=2e-5, atol=1e-6)
    np.testing.assert_array_equal(batch.events[:, 5:8], oo.events[:, 5:8])
    np.testing.assert_allclose(batch.weights, np.linspace(1, 2, len(oo)), rtol=1e-6)


def test_neutral_particles_are_left_out_unless_all_are_wanted(tmp_path, oo):
    columns = columns_of(oo)
    columns["charge"] = columns["charge"] // 2  # -1 and 0
    path = write(tmp_path / "a.root", columns)
    half, _ = read(path)
    assert len(half.particles) == pytest.approx(len(oo.particles) / 2, abs=1)
    assert_same(read(path, charge="all")[0], oo)


def test_branches_of_different_length_make_bad_events(tmp_path, oo):
    columns = columns_of(oo)
    eta = columns["eta"].to_list()
    eta[2] = eta[2][:-1]
    columns["eta"] = ak.Array(eta)
    claimed = oo.n_particles.copy()
    claimed[80] += 1
    columns["n_particles"] = claimed
    batch, found = read(write(tmp_path / "a.root", columns))
    n2, n80 = oo.n_particles[[2, 80]]
    assert found == [
        Fault(2, faults.WRONG_COUNT, f"eta has {n2 - 1} values, pt has {n2}"),
        Fault(80, faults.WRONG_COUNT, f"n_particles is {n80 + 1}, pt has {n80}"),
    ]
    assert_same(batch, oo.take(np.setdiff1d(np.arange(len(oo)), [2, 80])))


def test_signed_pt_and_values_that_are_not_finite_make_bad_events(tmp_path, oo):
    columns = columns_of(oo)
    pt = oo.particle("pt").copy()
    pt[oo.offsets[4]] *= -1
    columns["pt"] = ak.unflatten(pt, oo.n_particles)
    columns["b"] = np.where(np.arange(len(oo)) == 9, np.nan, oo.event("b"))
    _, found = read(write(tmp_path / "a.root", columns))
    assert [(fault.event, fault.reason) for fault in found] == [
        (4, faults.NEGATIVE_PT),
        (9, faults.NOT_FINITE),
    ]


@pytest.mark.parametrize(
    ("missing", "options", "words"),
    [
        ("pt", {}, "no branches pt, eta, phi or px, py, pz.*branches in it: .*eta"),
        ("charge", {}, "nothing tells charged particles from neutral ones"),
        ("n_coll", {}, "no branch for n_coll"),
        (None, {"branches": {"b": "impact"}}, "no branch 'impact'; branches in it: .*n_coll"),
        (None, {"branches": {"b": "pt"}}, r"branch pt is .*var.*, expected one number per event"),
        (None, {"branches": {"eta": "b"}}, "branch b is .*, expected one number per particle"),
        (None, {"tree": "other"}, "no tree 'other'; trees in it: events"),
    ],
)
def test_what_is_missing_is_said_with_what_is_there(tmp_path, oo, missing, options, words):
    columns = columns_of(oo)
    columns.pop(missing, None)
    with pytest.raises(InputError, match=words):
        read(write(tmp_path / "a.root", columns), **options)


def test_a_tree_must_be_named_where_there_are_two(tmp_path, oo):
    path = write(tmp_path / "a.root", columns_of(oo), more=columns_of(oo))
    with pytest.raises(InputError, match="say which tree with --tree; trees in it: events, more"):
        read(path)


def test_a_damaged_file_is_one_sentence(tmp_path, oo):
    path = write(tmp_path / "a.root", columns_of(oo))
    data = path.read_bytes()
    for size in (10, 300, len(data) // 2):
        path.write_bytes(data[:size])
        with pytest.raises(InputError, match="cannot be read"):
            read(path)


@pytest.mark.parametrize("kind", ["tree", "rntuple"])
def test_any_flipped_bit_is_told_in_one_line_or_harmless(tmp_path, kind):
    """Checksums, compression and lengths break in libraries with errors of their own."""
    columns = {
        **{name: ak.Array([[0.5, 0.25], [1.0]] * 20) for name in ("pt", "eta", "phi")},
        "n": np.arange(40),
    }
    path = tmp_path / "a.root"
    if kind == "tree":
        write(path, columns)
    else:
        with uproot.recreate(path) as file:
            file.mkrntuple("events", columns)
    data = path.read_bytes()
    told = []
    for place in range(150, len(data), len(data) // 60):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        try:
            read(path, geometry=False, charge="assumed")
        except InputError as error:
            told.append(str(error))
    assert told
    assert all(line.startswith(str(path)) and "\n" not in line for line in told)


@pytest.mark.parametrize(
    ("name", "value"), [("charge", np.nan), ("pid", np.nan), ("pid", np.inf), ("status", np.nan)]
)
def test_a_charge_id_or_status_that_is_not_finite_makes_a_bad_event(tmp_path, oo, name, value):
    columns = columns_of(oo)
    del columns["charge"]
    usual = {"charge": 1, "pid": 211, "status": 1}
    for quantity in {name, "charge"} if name == "status" else {name}:
        columns[quantity] = ak.unflatten(
            np.full(len(oo.particles), usual[quantity], float), oo.n_particles
        )
    spoilt = np.full(len(oo.particles), usual[name], float)
    spoilt[oo.offsets[4] + 1] = value
    columns[name] = ak.unflatten(spoilt, oo.n_particles)
    batch, found = read(write(tmp_path / "a.root", columns))
    assert found == [Fault(4, faults.NOT_FINITE, f"{name} of a particle is not finite")]
    assert_same(batch, oo.take(np.setdiff1d(np.arange(len(oo)), [4])))


def test_values_that_float32_cannot_hold_make_bad_events_without_a_warning(tmp_path, oo):
    columns = columns_of(oo)
    pt = oo.particle("pt").copy()
    pt[oo.offsets[4] : oo.offsets[5]] = 3e38
    columns["pt"] = ak.unflatten(pt, oo.n_particles)
    columns["b"] = np.where(np.arange(len(oo)) == 9, 1e300, oo.event("b").astype(float))
    columns["weight"] = np.where(np.arange(len(oo)) == 11, 1e300, 1.0)
    _, found = read(write(tmp_path / "a.root", columns))
    assert [(fault.event, fault.reason) for fault in found] == [
        (event, faults.NOT_FINITE) for event in (4, 9, 11)
    ]
