"""hi-flow's numbers on events whose flow is known."""

import dataclasses

import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.compare.flow import FlowAccumulator, FlowResult
from hitools.core.compare.flow_sums import FlowOptions
from hitools.core.observables.pairs import PairCuts
from tests.core.toys import bend, toy_events

V2, V3 = 0.12, 0.09
FLOWING = toy_events(2500, 1, mean_particles=150, flow={2: V2, 3: V3}, weighted=True)


def measure(sample: EventBatch, reference: EventBatch | None = None, **options) -> FlowResult:
    accumulator = FlowAccumulator(FlowOptions(**options))
    for batch in sample.split(40_000):
        accumulator.add_sample(batch)
    for batch in [] if reference is None else reference.split(30_000):
        accumulator.add_reference(batch)
    return accumulator.result()


def rotated_particles(events: EventBatch, seed: int) -> EventBatch:
    """Every particle at a random azimuth: flow and correlations removed, all else kept."""
    phi = np.random.default_rng(seed).uniform(-np.pi, np.pi, len(events.particles))
    particles = events.particles.copy()
    particles[:, 5] = phi
    return dataclasses.replace(events, particles=particles).recomputed()


def assert_within(result: FlowResult, name: str, expected: float, sigmas: float = 3.5) -> None:
    value, error = float(result.sample.value[name]), float(result.sample.error[name])
    assert error > 0
    assert abs(value - expected) < sigmas * error, f"{name} = {value} +- {error}"


@pytest.mark.parametrize(
    "options",
    [{}, {"estimator": "product"}, {"particle_weight": "pt"}, {"cumulant_gap": 0.6}],
    ids=["paper", "product", "pt weights", "cumulants with gap"],
)
def test_known_flow_is_recovered_within_errors(options):
    result = measure(FLOWING, harmonics=(2, 3), **options)
    for n, expected in ((2, V2), (3, V3)):
        for name in (f"v{n}_sp", f"v{n}_2", f"v{n}_4"):
            assert_within(result, name, expected)
            error = float(result.sample.error[name])
            assert error < 0.4 * expected, name
        for name in (f"v{n}_sp(pt)", f"v{n}_2(pt)"):
            pulls = (result.sample.value[name] - expected) / result.sample.error[name]
            assert np.nanmean(pulls[:10] ** 2) < 3, name
    assert_within(result, "c2_4", -(V2**4))


def test_the_reference_particles_may_be_restricted_in_pt():
    result = measure(FLOWING, harmonics=(2,), reference_pt=(0.3, 1.5))
    assert_within(result, "v2_2", V2)
    assert_within(result, "v2_4", V2)


def test_event_plane_resolution_of_a_toy_with_known_v2():
    """<cos 2(psi_A - psi_B)> is the square of a half's resolution, here thrown directly."""
    rng = np.random.default_rng(0)
    events = toy_events(3000, 2, mean_particles=80, flow={2: V2})
    result = measure(events, harmonics=(2,))
    pt, cosines = events.particle("pt"), []
    for count in events.n_particles:
        # The gap of 1 in eta leaves 40% of the particles on either side.
        psi = []
        for size in rng.multinomial(count, [0.4, 0.4, 0.2])[:2]:
            phi = bend(rng.uniform(-np.pi, np.pi, size), 2, V2, 0.0)
            psi.append(np.angle(np.sum(pt[rng.integers(0, len(pt), size)] * np.exp(2j * phi))))
        cosines.append(np.cos(psi[0] - psi[1]))
    expected, error = np.mean(cosines), np.std(cosines) / np.sqrt(len(cosines))
    value = float(result.sample.value["v2_sp.resolution"])
    assert 0.1 < expected < 0.9
    assert abs(value - expected) < 4 * np.hypot(
        error, float(result.sample.error["v2_sp.resolution"])
    )


def _back_to_back(n_events: int, seed: int) -> EventBatch:
    """Pairs at opposite angles and nearly the same eta, no common plane."""
    rng = np.random.default_rng(seed)
    n_pairs = rng.poisson(20, n_events) + 2
    total = n_pairs.sum()
    phi = rng.uniform(-np.pi, np.pi, total)
    eta = rng.choice([-1, 1], total) * rng.uniform(0.8, 2.3, total)
    pt = 0.2 + rng.exponential(0.5, total)

    def both(x, y):
        return np.stack([x, y], axis=1).ravel()

    return EventBatch.from_particles(
        both(pt, pt),
        both(eta, eta + rng.normal(0, 0.05, total)),
        both(phi, phi + np.pi),
        2 * n_pairs,
        np.ones(n_events),
        np.ones(n_events),
        np.ones(n_events),
    )


def test_non_flow_of_back_to_back_pairs_disappears_with_a_gap():
    events = _back_to_back(3000, 4)
    near = measure(events, harmonics=(2,))
    assert near.sample.value["c2_2"] > 10 * near.sample.error["c2_2"]
    assert_within(near, "v2_sp.resolution", 0.0)
    far = measure(events, harmonics=(2,), cumulant_gap=1.0)
    assert_within(far, "c2_2", 0.0)
    # Each particle has exactly one partner: <2> = pairs / all pairs.
    n = events.n_particles.astype(float)
    assert near.sample.value["c2_2"] == pytest.approx(n.sum() / (n * (n - 1)).sum(), rel=0.2)


def test_removed_flow_stands_out_and_the_other_half_does_not():
    halves = FLOWING[:1250], FLOWING[1250:]
    same = measure(halves[1], halves[0], harmonics=(2, 3))
    assert max(p for p in same.comparison.pull.values() if np.isfinite(p)) < 4.5
    assert same.comparison.chi2["u2_sp(pt)"][0] < 3 * same.comparison.chi2["u2_sp(pt)"][1]
    gone = measure(rotated_particles(halves[1], 1), halves[0], harmonics=(2, 3))
    for name in ("v2_sp.resolution", "c2_2", "c3_2"):
        assert gone.comparison.pull[name] > 8, name
    chi2, ndf = gone.comparison.chi2["d2_2(pt)"]
    assert chi2 > 5 * ndf


def test_errors_are_the_spread_between_independent_samples():
    results = [
        measure(toy_events(600, 50 + k, mean_particles=50, flow={2: 0.1}), harmonics=(2,))
        for k in range(16)
    ]
    for name in ("v2_sp", "c2_2", "v2_sp.resolution", "pairs.associated"):
        values = np.array([r.sample.value[name] for r in results])
        errors = np.array([r.sample.error[name] for r in results])
        assert values.std(ddof=1) == pytest.approx(errors.mean(), rel=0.6), name


def test_event_weights_are_copies_of_events():
    events = toy_events(200, 7, flow={2: 0.1})
    weights = np.where(np.arange(200) % 3 == 0, 2, 1)
    copied = events.take(np.repeat(np.arange(200), weights))
    weighted = dataclasses.replace(events, weights=weights.astype(np.float32))
    cuts = PairCuts(trigger_pt=2.0)
    a, b = (measure(e, harmonics=(2,), pairs=cuts).sample.value for e in (weighted, copied))
    for name, value in a.items():
        np.testing.assert_allclose(value, b[name], rtol=1e-10, atol=1e-14, err_msg=name)


def test_trigger_correlation_of_events_with_a_recoiling_partner():
    """One trigger and k partners opposite to it among flat particles: cos_1 = -k/(k + flat)."""
    rng = np.random.default_rng(3)
    n_events, k, flat = 400, 5, 45
    trigger = rng.uniform(-np.pi, np.pi, n_events)
    phi = np.concatenate(
        [
            trigger[:, None],
            np.repeat(trigger[:, None] + np.pi, k, axis=1),
            rng.uniform(-np.pi, np.pi, (n_events, flat)),
        ],
        axis=1,
    )
    pt = np.full(phi.shape, 0.5)
    pt[:, 0] = 6.0
    ones = np.ones(n_events)
    events = EventBatch.from_particles(
        pt.ravel(),
        rng.uniform(-2.5, 2.5, phi.size),
        phi.ravel(),
        np.full(n_events, phi.shape[1]),
        ones,
        ones,
        ones,
    )
    result = measure(events, events, harmonics=(2,))
    assert result.sample.value["pairs.triggers"] == 1
    assert result.sample.value["pairs.associated"] == k + flat
    assert_within(result, "pairs.cos_1", -k / (k + flat))
    assert_within(result, "pairs.cos_2", k / (k + flat))
    near_pi = result.comparison.delta_phi.sample[[0, -1]].sum() * (2 * np.pi / 48)
    assert near_pi == pytest.approx(k + flat / 24, rel=0.1)
    assert result.comparison.map.score.mean == pytest.approx(1)


def test_events_without_triggers_or_planes_give_nan_and_no_warning():
    single = EventBatch.from_particles(
        np.ones(3),
        np.ones(3),
        np.arange(3.0),
        np.array([1, 2, 0]),
        np.ones(3),
        np.ones(3),
        np.ones(3),
    )
    result = measure(single, single)
    assert np.isnan(result.sample.value["v2_sp"])
    assert np.isnan(result.sample.value["pairs.associated"])
    assert result.sample.value["pairs.triggers"] == 0
    names = [q.name for q in result.quantities()]
    assert len(set(names)) == len(names)
    with pytest.raises(ValueError, match="no events"):
        FlowAccumulator().result()
