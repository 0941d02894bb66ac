"""The event-plane representation on real events: its inverse, its sums, its distributions."""

import json

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.interpolate import BSpline

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.features import (
    EVENT_COLUMNS,
    EVENT_INDEX,
    PARTICLE_INDEX,
    segment_sums,
    wrap_angle,
)
from hitools.core.representation.aligned import Aligned, is_hard
from hitools.core.representation.by_name import representation_from_dict
from hitools.core.representation.event_scores import EVENT_SCORES, condition_of
from hitools.core.representation.slices import N_SLICES, N_WEIGHTS, SliceSums, shares
from hitools.core.symmetry import orientations, turned
from tests.core.toys import toy_events

MEAN_PT, B, MEAN_ETA, Q_LENGTH = 1, 2, 5, 7
"""Columns of Aligned.condition."""


@pytest.fixture(scope="module")
def real(oo):
    return oo.take(oo.n_particles > 0)


@pytest.fixture(scope="module", params=[((2, 2), None), ((3, 3), None), ((3, 2), 2.0)], ids=str)
def scaling(real, request):
    harmonics, hard_from = request.param
    return Aligned.fit([real], slice_harmonics=harmonics, hard_from=hard_from, eta_max=2.5)


def encoded(scaling, batch):
    return scaling.encode(
        torch.from_numpy(batch.events),
        torch.from_numpy(batch.particles),
        torch.from_numpy(batch.offsets),
    )


def test_decoding_inverts_encoding(scaling, real):
    z, x = encoded(scaling, real)
    events, n_mended = scaling.decode_events(z[:, : scaling.n_event_features])
    assert n_mended <= 3
    for name in ("n_coll", "n_part", "n_particles"):
        np.testing.assert_array_equal(events[:, EVENT_INDEX[name]], real.event(name))
    several = real.n_particles > 2  # |Q| of one or two particles is a knot of its own
    for name in EVENT_COLUMNS:
        column, expected = events[several, EVENT_INDEX[name]], real.event(name)[several]
        scale = np.abs(expected).max()
        if name == "psi_2":
            np.testing.assert_allclose(np.cos(2 * (column - expected)), 1, atol=1e-6)
        else:
            np.testing.assert_allclose(column, expected, atol=2e-3 * scale, err_msg=name)
    pt, eta, phi, _ = scaling.decode_particles(x, real.events, real.n_particles)
    np.testing.assert_allclose(pt, real.particle("pt"), rtol=1e-4)
    np.testing.assert_allclose(eta, real.particle("eta"), atol=1e-4)
    np.testing.assert_allclose(wrap_angle(phi - real.particle("phi")), 0, atol=1e-5)


def test_no_particle_has_more_than_all_of_its_event(scaling, real):
    _, x = encoded(scaling, real)
    x[real.offsets[:-1], 0] = 30.0  # a score that no normal number has
    x[real.offsets[:-1], 4:] = 1  # and that no particle has which is not hard
    pt, _, _, mended = scaling.decode_particles(x, real.events, real.n_particles)
    most = np.minimum(real.event("sum_pt"), scaling.pt_max)
    np.testing.assert_allclose(pt[real.offsets[:-1]], most, rtol=1e-6)
    assert mended.pt >= len(real)


def test_particles_add_up_to_what_is_known_of_their_event(scaling, real):
    """Sums through scores and back, against sums over particles made here by hand."""
    z, x = encoded(scaling, real)
    several = real.n_particles > 5
    spread = np.sqrt(real.n_particles)
    psi = np.repeat(real.event("psi_2"), real.n_particles)
    contributions = scaling.contributions(x, torch.from_numpy(psi)).numpy()
    sums = segment_sums(contributions, real.offsets)
    of_hard = segment_sums(contributions * is_hard(x).numpy()[:, None], real.offsets)
    n = torch.from_numpy(real.n_particles)
    totals = scaling.totals(z, n, torch.from_numpy(of_hard)).numpy()
    assert np.abs((sums - totals) / spread[:, None])[several].max() < 0.05
    # The slices part the particles among them: together they hold what the event vector says.
    sums_of = scaling.slices.sums
    slices = totals[:, : sums_of.n_features].reshape(len(real), N_SLICES, -1) * sums_of.scales
    slices = slices.sum(1)
    unit = scaling.slices.pt_unit
    turned = real.particle("phi") - psi
    expected = {
        "n": real.n_particles,
        "pt": real.event("sum_pt") / unit,
        "pt_cos_2": np.hypot(real.event("q_x"), real.event("q_y")) / unit,
        "pt_sin_2": np.zeros(len(real)),
        "n_sin_1": segment_sums(np.sin(turned), real.offsets),
        "n_cos_2": segment_sums(np.cos(2 * turned), real.offsets),
        "pt_cos_1": segment_sums(real.particle("pt") * np.cos(turned), real.offsets) / unit,
        "n_cos_3": segment_sums(np.cos(3 * turned), real.offsets),
        "pt_sin_3": segment_sums(real.particle("pt") * np.sin(3 * turned), real.offsets) / unit,
    }
    for name, column in expected.items():
        if name not in sums_of.names:
            continue
        error = (slices[:, sums_of.names.index(name)] - column) / spread
        assert np.abs(error[several]).max() < 0.05, name
    for k, name in ((-2, "eta"), (-1, "phi")):
        by_hand = segment_sums(real.particle(name), real.offsets)
        scale = scaling.eta_scale if name == "eta" else np.pi / np.sqrt(3)
        assert np.abs((totals[:, k] - by_hand / scale) / spread)[several].max() < 0.02, name


def test_slices_are_of_the_particles_that_are_not_hard(real):
    """Hard particles turned around leave them as they are; any of the others do not."""
    scaling = Aligned.fit([real], hard_from=2.0, eta_max=2.5)
    z, x = encoded(scaling, real)
    hard = is_hard(x).numpy()
    assert 0.01 < hard.mean() < 0.05
    for some, changed in ((hard, False), (~hard, True)):
        particles = real.particles.copy()
        particles[some, PARTICLE_INDEX["phi"]] += 1.0
        other, _ = encoded(scaling, EventBatch(real.events, particles, real.offsets))
        coarse = (other - z)[:, scaling.n_event_features :]
        assert bool((coarse.abs().amax(1) > 1e-3).double().mean() > 0.9) is changed
        assert changed or not coarse.any()


def test_what_hard_particles_leave_is_shared_by_the_others(real):
    """Whatever hard particles are drawn for an event, all add up to what its vector says."""
    scaling = Aligned.fit([real], hard_from=2.0, eta_max=2.5)
    sums_of = scaling.slices.sums
    z, x = encoded(scaling, real)
    psi = np.repeat(real.event("psi_2"), real.n_particles)
    own = scaling.contributions(x, torch.from_numpy(psi)).numpy() * is_hard(x).numpy()[:, None]
    n = torch.from_numpy(real.n_particles)
    # As many as another event has, which fit badly; its slices, too.
    of_hard = torch.from_numpy(np.roll(segment_sums(own, real.offsets), 1, axis=0))
    totals = scaling.totals(z, n, of_hard)
    in_slices = totals[:, : sums_of.n_features].view(len(real), N_SLICES, -1).numpy()
    whole = dict(zip(sums_of.names, (in_slices.sum(1) * sums_of.scales).T, strict=True))
    n_hard = scaling.known.of_whole(of_hard)[:, 0].numpy() * sums_of.scales[0]
    pt_hard = scaling.known.of_whole(of_hard)[:, 1].numpy() * sums_of.scales[1]
    left = real.event("sum_pt") / scaling.slices.pt_unit - pt_hard
    fits = (n_hard < real.n_particles) & (left > 0.5 * (real.n_particles - n_hard))
    assert fits.mean() > 0.5
    np.testing.assert_allclose(whole["n"][fits], real.n_particles[fits], rtol=1e-4)
    sum_pt = real.event("sum_pt") / scaling.slices.pt_unit
    np.testing.assert_allclose(whole["pt"][fits], sum_pt[fits], rtol=1e-3)
    np.testing.assert_allclose(whole["pt_sin_2"][fits], 0, atol=1e-2)
    # Where they leave nothing, the others have the least that a particle has.
    soft_pt = whole["pt"] - pt_hard
    least = np.clip(real.n_particles - n_hard, 0, None) * scaling.pt_min / scaling.slices.pt_unit
    assert (soft_pt > 0.99 * least - 1e-4).all()
    assert np.isfinite(totals.numpy()).all()


@pytest.mark.parametrize(("harmonics", "n_features"), [((2, 2), 50), ((3, 3), 70), ((1, 2), 40)])
def test_a_model_keeps_the_sums_that_it_was_trained_with(real, harmonics, n_features):
    one = Aligned.fit([real], slice_harmonics=harmonics, eta_max=2.5)
    again = Aligned.from_dict(json.loads(json.dumps(one.to_dict())))
    assert again == one
    assert (again.n_coarse_features, len(again.known)) == (n_features, n_features + 2)
    assert encoded(again, real)[0].shape == (len(real), 9 + n_features)


def test_a_model_of_before_there_was_a_choice_has_two_harmonics(real):
    one = Aligned.fit([real], slice_harmonics=(2, 2), eta_max=2.5)
    written = one.to_dict()
    del written["slices"]["harmonics"]
    assert Aligned.from_dict(written) == one
    assert one.slices.sums == SliceSums((2, 2))


@pytest.mark.parametrize("harmonics", [(2,), (2, 1), (0, 2), (2, 7), (3, 3, 2)])
def test_harmonics_that_do_not_fit_are_refused(harmonics):
    with pytest.raises(InputError, match="expected two numbers from 1 to 6"):
        SliceSums(harmonics)


def test_slices_are_smooth_and_of_equal_probability():
    """By integration over the normal law of the score; scipy's B-spline in the middle."""
    score = torch.linspace(-6, 6, 20001, dtype=torch.float64)
    weights = shares(score)
    law = stats.norm.pdf(score.numpy())[:, None]
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-12)
    share = (weights.numpy() * law).sum(0) / law.sum()
    np.testing.assert_allclose(share, 1 / N_SLICES, atol=1e-4)
    np.testing.assert_allclose(weights, weights.flip(0).flip(1), atol=1e-12)
    place = N_SLICES * stats.norm.cdf(score.numpy())
    middle = BSpline.basis_element([1, 2, 3, 4], extrapolate=False)(place)
    np.testing.assert_allclose(weights[:, 2], np.nan_to_num(middle), atol=1e-12)
    of_many = shares(score[:20000].view(4, 5000))
    assert torch.equal(of_many[2], weights[10000:15000].T)
    slope = np.gradient(weights.numpy(), score.numpy(), axis=0)
    assert np.abs(np.diff(slope, axis=0)).max() < 5e-3  # triangles: 2


def test_any_scores_of_slices_agree_with_the_event_vector(scaling):
    """What a network draws need not be consistent; what particles are told is."""
    sums_of = scaling.slices.sums
    z = torch.randn(300, 9 + sums_of.n_features, generator=torch.Generator().manual_seed(3))
    events, _ = scaling.decode_events(z[:, :9])
    n = torch.from_numpy(events[:, EVENT_INDEX["n_particles"]])
    none = torch.zeros(300, len(scaling.known))
    totals = scaling.totals(z, n, none)[:, : sums_of.n_features].view(300, N_SLICES, -1).numpy()
    totals *= sums_of.scales
    assert totals[:, :, :N_WEIGHTS].min() >= 0
    whole = dict(zip(sums_of.names, totals.sum(1).T, strict=True))
    np.testing.assert_allclose(whole["n"], n, rtol=1e-4)
    np.testing.assert_allclose(whole["pt_sin_2"], 0, atol=1e-2)
    inside = (events[:, EVENT_INDEX["mean_pt"]] < scaling.vector.limits["mean_pt"][1]) & (
        events[:, EVENT_INDEX["mean_pt"]] > scaling.vector.limits["mean_pt"][0]
    )
    sum_pt = events[:, EVENT_INDEX["sum_pt"]] / scaling.slices.pt_unit
    np.testing.assert_allclose(whole["pt"][inside], sum_pt[inside], rtol=1e-3)


def test_decoded_event_vectors_are_consistent_in_themselves(scaling):
    z = torch.randn(500, len(EVENT_SCORES), generator=torch.Generator().manual_seed(1))
    events, _ = scaling.decode_events(z)
    column = {name: events[:, i].astype(np.float64) for name, i in EVENT_INDEX.items()}
    np.testing.assert_allclose(column["sum_pt"], column["n_particles"] * column["mean_pt"], 1e-5)
    np.testing.assert_allclose(
        np.arctan2(column["q_y"], column["q_x"]) / 2, column["psi_2"], atol=1e-4
    )
    assert (np.hypot(column["q_x"], column["q_y"]) <= 1.001 * column["sum_pt"]).all()
    assert (column["n_particles"] >= 1).all()


def test_scores_of_events_and_particles_are_normal():
    """On a sample large enough to tell; the map was made from another."""
    scaling = Aligned.fit([toy_events(4000, seed=1)], eta_max=2.5)
    z, x = encoded(scaling, toy_events(4000, seed=2))
    for k, name in enumerate(EVENT_SCORES):
        assert stats.kstest(z[:, k].numpy(), "norm").statistic < 0.045, name
    for k in (0, 1):
        assert stats.kstest(x[::7, k].numpy(), "norm").statistic < 0.01
    assert torch.hypot(x[:, 2], x[:, 3]).numpy() == pytest.approx(np.sqrt(2), abs=1e-5)


def test_means_have_normal_scores_in_events_of_every_size():
    """Over all events the spread of mean_pt is that of none: it falls as 1 / sqrt(N)."""
    batch = toy_events(8000, seed=3)
    z = Aligned.fit([toy_events(8000, seed=4)], eta_max=2.5).encode_events(
        torch.from_numpy(batch.events)
    )
    scores = dict(zip(EVENT_SCORES, z.numpy().T, strict=True))
    n, mean_pt = batch.n_particles, np.log(batch.event("mean_pt"))
    few, many = n < np.quantile(n, 0.1), n > np.quantile(n, 0.9)
    assert mean_pt[few].std() > 1.3 * mean_pt[many].std()
    for some in (few, many):
        for name in ("mean_pt", "mean_eta", "mean_phi"):
            assert scores[name][some].mean() == pytest.approx(0, abs=0.12), name
            assert scores[name][some].std() == pytest.approx(1, abs=0.1), name
        length = np.hypot(scores["q_along"][some], scores["q_across"][some])
        assert np.mean(length**2) == pytest.approx(2, abs=0.25)


def test_hard_particles_are_the_hardest_and_the_others_normal_among_themselves(real):
    """On scores of real particles that one map was made from; by quantiles of the particles."""
    threshold = 1.5
    plain = Aligned.fit([real], eta_max=2.5)
    scaling = Aligned.fit([real], hard_from=threshold, eta_max=2.5)
    (_, x), (_, x_plain) = encoded(scaling, real), encoded(plain, real)
    hard = is_hard(x).numpy()
    assert not is_hard(x_plain).any()
    pt = real.particle("pt")
    assert pt[hard].min() >= pt[~hard].max()
    assert hard.mean() == pytest.approx(stats.norm.sf(threshold), rel=0.02)
    np.testing.assert_array_equal(x[hard, 0], x_plain[hard, 0])
    for k in (0, 1):
        assert stats.kstest(x[~hard, k].numpy(), "norm").statistic < 0.01
    assert x[:, 1].std() < x_plain[:, 1].std()  # with hard ones, which are nearer to 0
    assert torch.equal(x[:, 2:4], x_plain[:, 2:])
    # What a network may say of a particle that is not hard never makes it one.
    x[~hard, 0] += 20
    raised, *_ = scaling.decode_particles(x, real.events, real.n_particles)
    assert raised[~hard].max() <= pt[hard].min() * (1 + 1e-5)
    np.testing.assert_allclose(raised[hard], pt[hard], rtol=1e-4)


def test_all_particles_of_small_events_count_as_hard(real):
    """What is left to the others is of larger events alone, and normal among itself."""
    below = int(np.median(real.n_particles))
    scaling = Aligned.fit([real], hard_from=2.0, whole_below=below, eta_max=2.5)
    _, x = encoded(scaling, real)
    hard = is_hard(x).numpy()
    small = real.n_particles < below
    assert 0.2 < small.mean() < 0.8
    of_small = np.repeat(small, real.n_particles)
    assert hard[of_small].all()
    above = real.particle("pt") >= float(scaling.pt.decode(torch.tensor(2.0)).exp())
    np.testing.assert_array_equal(hard[~of_small], above[~of_small])
    assert stats.kstest(x[~hard, 1].numpy(), "norm").statistic < 0.01
    pt, eta, *_ = scaling.decode_particles(x, real.events, real.n_particles)
    np.testing.assert_allclose(pt, real.particle("pt"), rtol=2e-3)
    np.testing.assert_allclose(eta, real.particle("eta"), atol=2e-3)
    again = Aligned.from_dict(json.loads(json.dumps(scaling.to_dict())))
    assert again.whole_below == below
    with pytest.raises(InputError, match="whole events"):
        Aligned.fit([real], whole_below=below)


def test_turning_an_event_changes_nothing_but_its_psi_2(scaling, real):
    orientation = orientations(np.full(len(real), 0.1, np.float32), mirror_eta=True)
    z, x = encoded(scaling, real)
    z_turned, x_turned = encoded(scaling, turned(real, orientation))
    # psi_2 is known up to half a turn.
    sign = torch.sign((x[:, 2:4] * x_turned[:, 2:4]).sum(1, keepdim=True))
    torch.testing.assert_close(x_turned[:, 2:4] * sign, x[:, 2:4], rtol=0, atol=1e-3)
    # What the particle branch is told depends on no direction, but for mean_phi.
    for k in (MEAN_PT, B, MEAN_ETA, Q_LENGTH):
        torch.testing.assert_close(
            condition_of(z_turned)[:, k], condition_of(z)[:, k], rtol=0, atol=5e-3
        )


def test_it_survives_json(scaling, real):
    again = representation_from_dict(json.loads(json.dumps(scaling.to_dict())))
    assert again == scaling
    z, _ = encoded(again, real)
    assert z.isfinite().all()


def test_events_that_cannot_be_measured_are_refused():
    with pytest.raises(InputError, match="no particles"):
        Aligned.fit([])
    with pytest.raises(InputError, match="--log"):
        Aligned.fit([toy_events(10)], log_columns=("pt",))
    broken = toy_events(10)
    broken.particles[3, 3] = np.nan
    with pytest.raises(InputError, match="not finite"):
        Aligned.fit([broken])


@pytest.mark.parametrize("t", [0.02, 0.3, 0.7, 0.99])
def test_independent_particles_move_as_the_mean_of_what_they_may_have_been(scaling, t):
    """Against the posterior mean of a point on the circle, by summing over 20,000 angles."""
    alpha, sigma = np.cos(np.pi / 2 * t), np.sin(np.pi / 2 * t)
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    angles = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    circle = np.sqrt(2) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    noised = x[:, 2:].numpy()
    exponent = -((noised[:, None] - alpha * circle) ** 2).sum(2) / (2 * sigma**2)
    weight = np.exp(exponent - exponent.max(1, keepdims=True))
    mean = weight @ circle / weight.sum(1, keepdims=True)
    ones = torch.ones(50, 1, dtype=torch.float64)
    velocity = scaling.independent_velocity(x, alpha * ones, sigma * ones)
    assert not velocity[:, :2].any()
    np.testing.assert_allclose(velocity[:, 2:], (alpha * noised - mean) / sigma, atol=1e-6)


@pytest.mark.parametrize("t", [0.1, 0.5, 1.0])
def test_hard_particles_weigh_more_as_far_as_they_can_be_told(scaling, real, t):
    _, clean = encoded(scaling, real)
    drawn = ~is_hard(clean)  # what is drawn before is not in the loss
    clean, pt = clean[drawn], real.particle("pt")[drawn]
    alpha = torch.full((len(clean), 1), np.cos(np.pi * t / 2))
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    weights = scaling.emphasis(alpha * clean + (1 - alpha**2).sqrt() * noise, alpha, hardness=1.0)
    assert float(weights.mean()) == pytest.approx(1, abs=0.05)
    hard = pt > np.quantile(pt, 0.97)
    lift = float(weights[hard].mean())
    if t == 1:
        assert lift == pytest.approx(1)  # nothing is known of a particle yet
    else:
        assert lift > {0.1: 5, 0.5: 2}[t]
