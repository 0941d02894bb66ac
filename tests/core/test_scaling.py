"""Standardisation against NumPy on the whole data, its inverse, and what happens at the edges."""

import json

import numpy as np
import pytest
import torch

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.features import EVENT_INDEX, PARTICLE_COLUMNS, PARTICLE_INDEX
from hitools.core.representation.by_name import REPRESENTATIONS, representation_from_dict
from hitools.core.scaling import LOGARITHMIC, Standardised, reflect


def toy_events(n_events: int = 200, seed: int = 0) -> EventBatch:
    """Exponential pT, flat eta and phi, multiplicities from 1 to 60."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 61, n_events)
    n = int(counts.sum())
    return EventBatch.from_particles(
        pt=rng.exponential(0.6, n) + 0.05,
        eta=rng.uniform(-2.5, 2.5, n),
        phi=rng.uniform(-np.pi, np.pi, n),
        n_particles=counts,
        b=rng.uniform(0, 12, n_events),
        n_coll=counts // 2 + 1,
        n_part=counts // 3 + 2,
    )


EVENTS = toy_events()


def encoded(scaling: Standardised, batch: EventBatch) -> tuple[torch.Tensor, torch.Tensor]:
    return scaling.encode(
        torch.from_numpy(batch.events),
        torch.from_numpy(batch.particles),
        torch.from_numpy(batch.offsets),
    )


def test_constants_are_the_mean_and_standard_deviation_however_the_data_are_cut():
    pieces = Standardised.fit(EVENTS.split(max_particles=97))
    for constants, values in ((pieces.events, EVENTS.events), (pieces.particles, EVENTS.particles)):
        exact = values.astype(np.float64)
        np.testing.assert_allclose(constants.mean, exact.mean(0), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(constants.std, exact.std(0), rtol=1e-9)
        np.testing.assert_array_equal(constants.low, exact.min(0))
        np.testing.assert_array_equal(constants.high, exact.max(0))


def test_logarithmic_columns_are_standardised_in_the_logarithm():
    scaling = Standardised.fit([EVENTS], log_columns=LOGARITHMIC)
    column = PARTICLE_INDEX["pt"]
    log_pt = np.log(EVENTS.particle("pt").astype(np.float64))
    assert scaling.particles.mean[column] == pytest.approx(log_pt.mean())
    assert scaling.particles.std[column] == pytest.approx(log_pt.std())
    _, x = encoded(scaling, EVENTS)
    assert float(x[:, column].mean()) == pytest.approx(0, abs=1e-5)
    assert float(x[:, column].std()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("log_columns", [(), LOGARITHMIC])
def test_decoding_inverts_encoding(log_columns):
    scaling = Standardised.fit([EVENTS], log_columns=log_columns)
    z, x = encoded(scaling, EVENTS)
    events, n_mended = scaling.decode_events(z)
    assert n_mended <= 5  # float32 may put the extreme event of a column just outside its range
    np.testing.assert_allclose(events, EVENTS.events, rtol=2e-5, atol=2e-4)
    for name in ("n_coll", "n_part", "n_particles"):
        np.testing.assert_array_equal(events[:, EVENT_INDEX[name]], EVENTS.event(name))
    pt, eta, phi, mended = scaling.decode_particles(x, EVENTS.events, EVENTS.n_particles)
    assert mended.pt + mended.eta <= 5
    np.testing.assert_allclose(pt, EVENTS.particle("pt"), rtol=1e-5)
    np.testing.assert_allclose(eta, EVENTS.particle("eta"), atol=1e-5)
    np.testing.assert_allclose(np.cos(phi - EVENTS.particle("phi")), 1, atol=1e-6)


def test_constants_survive_json_exactly():
    scaling = Standardised.fit([EVENTS], log_columns=("pt",), eta_max=2.5, pt_min=0.01)
    text = json.dumps(scaling.to_dict())
    assert representation_from_dict(json.loads(text)) == scaling


def test_an_unknown_representation_is_refused_by_name():
    with pytest.raises(InputError, match="representation 'polar', expected one of standardised"):
        representation_from_dict({"name": "polar"})
    assert list(REPRESENTATIONS) == ["standardised", "aligned"]


def test_a_column_that_never_changes_stays_finite():
    geometry_free = EventBatch.from_particles(
        EVENTS.particle("pt"),
        EVENTS.particle("eta"),
        EVENTS.particle("phi"),
        EVENTS.n_particles,
        b=np.zeros(len(EVENTS)),
        n_coll=np.zeros(len(EVENTS)),
        n_part=np.full(len(EVENTS), 2.0),
    )
    scaling = Standardised.fit([geometry_free], log_columns=LOGARITHMIC)
    z, _ = encoded(scaling, geometry_free)
    assert torch.isfinite(z).all()
    assert float(z[:, EVENT_INDEX["n_coll"]].abs().max()) == 0
    events, _ = scaling.decode_events(torch.randn(50, 11))
    assert not events[:, [EVENT_INDEX["b"], EVENT_INDEX["n_coll"]]].any()


def test_sampled_event_vectors_stay_where_events_can_be():
    scaling = Standardised.fit([EVENTS], log_columns=("mean_pt",))
    wild = 30 * torch.randn(500, 11, generator=torch.Generator().manual_seed(1))
    events, n_mended = scaling.decode_events(wild)
    assert n_mended > 450
    counts = events[:, EVENT_INDEX["n_particles"]]
    assert counts.min() >= 1
    assert counts.max() <= EVENTS.n_particles.max()
    np.testing.assert_array_equal(counts, np.rint(counts))
    assert events[:, EVENT_INDEX["n_coll"]].min() >= 1
    assert events[:, EVENT_INDEX["b"]].min() >= 0
    assert events[:, EVENT_INDEX["mean_pt"]].min() > 0
    psi_2 = events[:, EVENT_INDEX["psi_2"]]
    assert np.abs(psi_2).max() <= np.float32(np.pi / 2)
    # An angle keeps its direction: only full turns of 2 psi_2 were taken off.
    raw = (wild[:, EVENT_INDEX["psi_2"]] * scaling.events.std[4] + scaling.events.mean[4]).numpy()
    np.testing.assert_allclose(np.cos(2 * (psi_2 - raw)), 1, atol=1e-6)


def test_sampled_particles_stay_inside_the_selection_and_are_counted():
    scaling = Standardised.fit([EVENTS], eta_max=2.5, pt_min=0.05)
    x = torch.zeros(4, 6)
    eta, pt_rel = PARTICLE_INDEX["eta"], PARTICLE_INDEX["pt_rel"]
    beyond = (2.6 - scaling.particles.mean[eta]) / scaling.particles.std[eta]
    x[0, eta] = beyond
    x[1, pt_rel] = -50
    x[2, pt_rel] = +50
    pt, eta_out, phi, mended = scaling.decode_particles(x, EVENTS.events[:1], np.array([4]))
    assert eta_out[0] == pytest.approx(2.4, abs=1e-5)
    assert np.abs(eta_out).max() <= 2.5
    assert pt.min() >= 0.05
    assert pt[2] == pytest.approx(EVENTS.particle("pt").max())
    assert np.abs(phi).max() <= np.pi
    assert (mended.pt, mended.eta) == (2, 1)


def test_reflection_restores_a_smeared_flat_edge():
    rng = np.random.default_rng(3)
    smeared = rng.uniform(-1, 1, 200_000) + rng.normal(0, 0.05, 200_000)
    counts, _ = np.histogram(reflect(smeared, -1, 1), bins=20, range=(-1, 1))
    np.testing.assert_allclose(counts, 10_000, rtol=0.05)


def test_momenta_for_the_psi_loss_are_physical_and_differentiable():
    scaling = Standardised.fit([EVENTS], log_columns=("pt",))
    z, x = encoded(scaling, EVENTS)
    x.requires_grad_(True)
    pt, phi = scaling.momenta(x)
    np.testing.assert_allclose(pt.detach(), EVENTS.particle("pt"), rtol=1e-5)
    np.testing.assert_allclose(phi.detach(), EVENTS.particle("phi"), atol=1e-5)
    (gradient,) = torch.autograd.grad((pt * torch.cos(2 * phi)).sum(), x)
    assert gradient.abs().sum() > 0
    np.testing.assert_allclose(scaling.event_plane(z), EVENTS.event("psi_2"), atol=1e-5)


def test_kept_scaling_takes_the_limits_of_the_new_data():
    small = EVENTS.take(np.flatnonzero(EVENTS.n_particles < 10))
    kept = Standardised.fit([small], eta_max=2.0).with_ranges_of(
        Standardised.fit([EVENTS], eta_max=2.5)
    )
    events, _ = kept.decode_events(torch.full((1, 11), 100.0))
    assert events[0, EVENT_INDEX["n_particles"]] == EVENTS.n_particles.max()
    assert kept.events.mean == Standardised.fit([small]).events.mean
    assert kept.eta_max == pytest.approx(2.5)


def test_events_without_particles_do_not_move_the_constants():
    empty = EventBatch.from_particles(
        *(np.zeros(0) for _ in range(3)), np.zeros(5, np.int64), *(np.ones(5) for _ in range(3))
    )
    assert Standardised.fit([EVENTS, empty]) == Standardised.fit([EVENTS])
    with pytest.raises(InputError, match="no particles"):
        Standardised.fit([empty])


def test_a_value_that_is_not_finite_is_named():
    broken = EVENTS[:5]
    particles = broken.particles.copy()
    particles[3, PARTICLE_COLUMNS.index("eta")] = np.nan
    with pytest.raises(InputError, match="eta that is not finite"):
        Standardised.fit([EventBatch(broken.events, particles, broken.offsets)])
