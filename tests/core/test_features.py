"""Event and particle features against plain loops."""

import math

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.features import EVENT_INDEX, PARTICLE_INDEX, wrap_angle


def toy(seed: int = 0) -> tuple[EventBatch, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    counts = np.array([5, 1, 0, 40])
    events = [
        np.stack([rng.exponential(1, n), rng.uniform(-2, 2, n), rng.uniform(-9, 9, n)])
        for n in counts
    ]
    pt, eta, phi = np.concatenate(events, axis=1)
    geometry = rng.uniform(1, 9, (3, 4))
    return EventBatch.from_particles(pt, eta, phi, counts, *geometry), events


def test_event_columns_are_what_a_plain_loop_over_particles_gives():
    batch, events = toy()
    for k, (pt, eta, turned) in enumerate(events):
        phi = [math.atan2(math.sin(x), math.cos(x)) for x in turned]
        n = len(pt)
        q_x = sum(p * math.cos(2 * f) for p, f in zip(pt, phi, strict=True))
        q_y = sum(p * math.sin(2 * f) for p, f in zip(pt, phi, strict=True))
        expected = {
            "mean_pt": sum(pt) / n if n else 0,
            "sum_pt": sum(pt),
            "q_x": q_x,
            "q_y": q_y,
            "psi_2": math.atan2(q_y, q_x) / 2,
            "mean_eta": sum(eta) / n if n else 0,
            "mean_phi": sum(phi) / n if n else 0,
            "n_particles": n,
        }
        for name, value in expected.items():
            assert batch.events[k, EVENT_INDEX[name]] == np.float32(value) or math.isclose(
                batch.events[k, EVENT_INDEX[name]], value, rel_tol=1e-5, abs_tol=1e-6
            ), name


def test_relative_columns_are_differences_to_the_event_means():
    batch, _ = toy()
    for k in range(len(batch)):
        event = batch[k : k + 1]
        mean_pt, mean_eta, mean_phi = (
            event.event(name)[0] for name in ("mean_pt", "mean_eta", "mean_phi")
        )
        for row in event.particles:
            particle = {name: row[i] for name, i in PARTICLE_INDEX.items()}
            assert math.isclose(
                particle["pt_rel"], math.log(particle["pt"] / mean_pt), abs_tol=1e-5
            )
            assert math.isclose(particle["eta_rel"], particle["eta"] - mean_eta, abs_tol=1e-5)
            turns = (particle["phi_rel"] - (particle["phi"] - mean_phi)) / (2 * math.pi)
            assert math.isclose(turns, round(turns), abs_tol=1e-5)
            assert -math.pi < particle["phi_rel"] <= np.float32(math.pi)


def test_angles_are_wrapped_into_the_half_open_interval():
    angles = np.array([-np.pi, np.pi, 3 * np.pi, -3.5 * np.pi, 0.1, 1e4])
    for dtype in (np.float32, np.float64):
        wrapped = wrap_angle(angles.astype(dtype))
        assert wrapped.dtype == dtype
        assert (wrapped > -dtype(np.pi)).all()
        assert (wrapped <= dtype(np.pi)).all()
        np.testing.assert_allclose(np.cos(wrapped), np.cos(angles.astype(dtype)), atol=2e-3)


def test_sums_of_ten_thousand_particles_do_not_lose_precision():
    rng = np.random.default_rng(1)
    pt = rng.exponential(0.5, 10_000).astype(np.float32)
    phi = rng.uniform(-3, 3, 10_000).astype(np.float32)
    batch = EventBatch.from_particles(pt, pt, phi, np.array([10_000]), *np.ones((3, 1)))
    exact = math.fsum(float(p) * math.cos(2 * float(f)) for p, f in zip(pt, phi, strict=True))
    assert batch.event("q_x")[0] == np.float32(exact)
