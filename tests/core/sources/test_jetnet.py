"""HDF5 tables of JetNet's and OmniLearn's layouts."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.format import faults
from hitools.core.format.faults import Fault
from tests.core.sources.reading import read


@pytest.fixture
def jets() -> dict[str, np.ndarray]:
    """40 jets of 3 to 12 particles."""
    rng = np.random.default_rng(1)
    n = rng.integers(3, 13, 40)
    real = np.arange(12) < n[:, None]
    fraction = rng.dirichlet(np.ones(12), 40) * real
    return {
        "n": n,
        "real": real,
        "pt": rng.uniform(500, 1500, 40),
        "eta": rng.uniform(-1, 1, 40),
        "fraction": fraction,
        "delta_eta": rng.normal(0, 0.1, (40, 12)) * real,
        "delta_phi": rng.normal(0, 0.1, (40, 12)) * real,
    }


def write(path: Path, **datasets: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values.astype(np.float32)
    return path


def jetnet(path: Path, jets, mask=None) -> Path:
    particles = [jets["delta_eta"], jets["delta_phi"], jets["fraction"]]
    mask = jets["real"] if mask is None else mask
    features = [jets["pt"], jets["eta"], jets["pt"] / 10, jets["n"]]
    return write(
        path,
        particle_features=np.stack([*particles, mask], axis=2),
        jet_features=np.stack(features, axis=1),
    )


def assert_jets(batch: EventBatch, jets) -> None:
    real = jets["real"]
    np.testing.assert_array_equal(batch.n_particles, jets["n"])
    pt = (jets["fraction"] * jets["pt"][:, None])[real]
    np.testing.assert_allclose(batch.particle("pt"), pt, rtol=1e-5)
    eta = (jets["delta_eta"] + jets["eta"][:, None])[real]
    np.testing.assert_allclose(batch.particle("eta"), eta, atol=1e-5)
    np.testing.assert_allclose(batch.particle("phi"), jets["delta_phi"][real], atol=1e-6)


def test_jetnet_fractions_and_differences_become_momenta(tmp_path, jets):
    batch, found = read(jetnet(tmp_path / "t.hdf5", jets), charge="all", geometry=False)
    assert_jets(batch, jets)
    assert not found


def test_omnilearn_logarithms_become_momenta(tmp_path, jets):
    pt = jets["fraction"] * jets["pt"][:, None]
    with np.errstate(divide="ignore"):
        features = [
            jets["delta_eta"],
            jets["delta_phi"],
            np.log1p(-jets["fraction"]),
            np.log(pt),
            0 * pt,
            0 * pt,
            np.hypot(jets["delta_eta"], jets["delta_phi"]),
        ]
    data = np.where(jets["real"][:, :, None], np.stack(features, axis=2), 0)
    path = write(
        tmp_path / "train_ttbar.h5",
        data=data,
        jet=np.stack([jets["pt"], jets["eta"], jets["pt"] / 10, jets["n"]], axis=1),
        pid=np.ones(40),
    )
    batch, found = read(path, charge="assumed", geometry=False)
    assert_jets(batch, jets)
    assert not found


def test_heavy_ion_events_under_omnilearn_names_come_back_whole(tmp_path, oo, oo_path):
    with h5py.File(oo_path) as file:
        path = write(tmp_path / "a.h5", data=file["particles"][:], jet=file["events"][:])
    batch, found = read(path, charge="assumed")
    np.testing.assert_array_equal(batch.events, oo.events)
    np.testing.assert_array_equal(batch.particles, oo.particles)
    assert not found


def test_columns_mean_what_the_user_says(tmp_path, jets):
    real = jets["real"]
    particles = [jets["delta_phi"], np.where(real, 1, 0), jets["fraction"], jets["delta_eta"]]
    path = write(
        tmp_path / "a.h5",
        data=np.stack(particles, axis=2),
        jet=np.stack([jets["n"] * 2, jets["n"], jets["eta"], 1000 * jets["pt"]], axis=1),
    )
    batch, found = read(
        path,
        particle_columns=("phi", "charge", "pt_fraction", "delta_eta"),
        event_columns=("weight", "-", "eta", "pt"),
        gev_per_unit=1e-3,
        geometry=False,
    )
    assert_jets(batch, jets)
    np.testing.assert_array_equal(batch.weights, 2 * jets["n"])
    assert not found


def test_azimuth_relative_to_an_axis_is_added_to_it(tmp_path, jets):
    path = jetnet(tmp_path / "a.h5", jets)
    with h5py.File(path, "a") as file:
        file["jet_features"][:, 2] = 3.1
    batch, _ = read(
        path,
        charge="all",
        geometry=False,
        particle_columns=("delta_eta", "delta_phi", "pt_fraction", "mask"),
        event_columns=("pt", "eta", "phi"),
    )
    turned = jets["delta_phi"][jets["real"]] + 3.1
    np.testing.assert_allclose(np.cos(batch.particle("phi")), np.cos(turned), atol=1e-5)
    assert (np.abs(batch.particle("phi")) <= np.float32(np.pi)).all()


def test_a_number_of_particles_that_differs_from_the_mask_makes_a_bad_event(tmp_path, jets):
    mask = jets["real"].copy()
    mask[7, 0] = False
    _, found = read(jetnet(tmp_path / "a.h5", jets, mask), charge="all", geometry=False)
    n = jets["n"][7]
    detail = f"n_particles is {n}, {n - 1} slots are filled"
    assert found == [Fault(7, faults.WRONG_COUNT, detail)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"geometry": False}, "nothing tells charged particles"),
        ({"charge": "all"}, "no column for b, n_coll, n_part"),
        (
            {"charge": "all", "geometry": False, "particle_columns": ("pt", "eta", "-")},
            "phi of a particle must be in exactly one column, as phi or delta_phi",
        ),
        (
            {"charge": "all", "geometry": False, "event_columns": ("pt",)},
            "column delta_eta needs the jet's eta",
        ),
        (
            {"charge": "all", "geometry": False, "event_columns": ("pt", "eta", "-", "-", "-")},
            "jet_features has 4 columns, 5 were named",
        ),
        (
            {"charge": "all", "geometry": False, "particle_columns": ("pt", "pt", "eta", "phi")},
            "particle_features: pt named twice",
        ),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, jets, options, words):
    with pytest.raises(InputError, match=words):
        read(jetnet(tmp_path / "a.h5", jets), **options)


def test_tables_of_different_length_are_refused(tmp_path, jets):
    path = jetnet(tmp_path / "a.h5", jets)
    with h5py.File(path, "a") as file:
        del file["jet_features"]
        file["jet_features"] = np.ones((39, 4), np.float32)
    with pytest.raises(InputError, match=r"particle_features has 40 rows, .*jet_features has 39"):
        read(path)


def test_tables_that_lie_in_other_files_are_refused(tmp_path, jets):
    whole = jetnet(tmp_path / "a.h5", jets)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["jet_features"] = np.ones((40, 4), np.float32)
        file["particle_features"] = h5py.ExternalLink(whole, "particle_features")
    with pytest.raises(InputError, match="no link"):
        read(tmp_path / "b.h5", charge="all", geometry=False)


@pytest.mark.parametrize("name", ["charge", "mask"])
def test_a_charge_or_mask_that_is_not_finite_makes_a_bad_event(tmp_path, jets, name):
    columns = ("delta_eta", "phi", "pt_fraction", name)
    mask = jets["real"].astype(float)
    mask[7, 1] = np.nan
    path = jetnet(tmp_path / "a.h5", jets, mask)
    options = {"charge": "charged" if name == "charge" else "all", "geometry": False}
    batch, found = read(path, particle_columns=columns, event_columns=("pt", "eta"), **options)
    assert found == [Fault(7, faults.NOT_FINITE, f"{name} of a particle is not finite")]
    assert len(batch) == 39
