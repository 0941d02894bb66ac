"""Moves to the sums: numpy's own sums of the decoded particles say whether they are met."""

import numpy as np
import pytest
import torch

from hitools.core.batch import EventBatch
from hitools.core.nets.corrections import moved_to_sums
from hitools.core.nets.layout import Layout
from hitools.core.representation.aligned import CIRCLE, Aligned, is_hard

JITTER = 0.05


@pytest.fixture(scope="module")
def large(oo) -> EventBatch:
    return oo.take(np.flatnonzero(oo.n_particles > 60)[:40])


@pytest.fixture(scope="module", params=[None, 2.0], ids=["all soft", "hard ones"])
def scaling(oo, request) -> Aligned:
    return Aligned.fit([oo], hard_from=request.param, eta_max=2.5)


def encoded(scaling: Aligned, events: EventBatch) -> tuple[torch.Tensor, torch.Tensor, Layout]:
    arrays = (events.events, events.particles, events.offsets)
    z, x = scaling.encode(*(torch.from_numpy(np.asarray(one)) for one in arrays))
    layout = Layout.from_offsets(torch.from_numpy(events.offsets), torch.device("cpu"))
    return z.float(), x.float(), layout


def jittered(x: torch.Tensor) -> torch.Tensor:
    """Particles that are not hard, a little away from where they belong."""
    draw = torch.Generator().manual_seed(3)
    moved = x.clone()
    moved[:, :2] += JITTER * torch.randn(len(x), 2, generator=draw)
    phi = torch.atan2(x[:, 3], x[:, 2]) + JITTER * torch.randn(len(x), generator=draw)
    moved[:, 2:4] = CIRCLE * torch.stack([phi.cos(), phi.sin()], dim=1)
    return torch.where(is_hard(x)[:, None], x, moved)


def physical_sums(scaling: Aligned, x: torch.Tensor, events: EventBatch) -> np.ndarray:
    """(n_events, 7) of decoded particles: sum pT, Q, sum eta, and n e^(3i phi), n in eta > 0.5."""
    pt, eta, phi, _ = scaling.decode_particles(x, events.events, events.n_particles)
    rows = []
    for start, stop in zip(events.offsets[:-1], events.offsets[1:], strict=True):
        p, e, f = pt[start:stop], eta[start:stop], phi[start:stop]
        q = (p * np.exp(2j * f)).sum()
        triangle = np.exp(3j * f).sum()
        sums = [p.sum(), q.real, q.imag, e.sum(), triangle.real, triangle.imag]
        rows.append([*sums, (e > 0.5).sum()])
    return np.array(rows)


def errors(scaling: Aligned, x: torch.Tensor, events: EventBatch) -> np.ndarray:
    """(7,) root mean square of what the sums are off by."""
    true = physical_sums(scaling, encoded(scaling, events)[1], events)
    return np.sqrt(np.square(physical_sums(scaling, x, events) - true).mean(0))


def test_sums_are_met_by_small_moves(scaling, large):
    z, x, layout = encoded(scaling, large)
    away = jittered(x)
    back = moved_to_sums(scaling, away, z, layout)
    before, after = (errors(scaling, one, large) for one in (away, back))
    assert (after[:6] < before[:6] / 3).all()
    assert (after[[1, 2, 4, 5]] < before[[1, 2, 4, 5]] / 8).all()
    # Smaller moves than those that led away: there are fewer sums than particles.
    angle = torch.atan2(back[:, 3], back[:, 2]) - torch.atan2(away[:, 3], away[:, 2])
    moves = torch.stack([*(back - away)[:, :2].T, (angle / 2).sin() * 2])
    assert (moves.square().mean(1).sqrt() < 0.75 * JITTER).all()
    # Nothing leaves its circle.
    assert torch.allclose(back[:, 2:4].norm(dim=1), away[:, 2:4].norm(dim=1))


def test_again_it_comes_closer(scaling, large):
    z, x, layout = encoded(scaling, large)
    once = moved_to_sums(scaling, jittered(x), z, layout)
    twice = moved_to_sums(scaling, once, z, layout)
    # Q and the third harmonic, which are no linear functions of phi.
    assert (
        errors(scaling, twice, large)[[1, 2, 4, 5]] < errors(scaling, once, large)[[1, 2, 4, 5]]
    ).all()


def test_particles_in_place_stay_there(scaling, large):
    z, x, layout = encoded(scaling, large)
    assert (moved_to_sums(scaling, x, z, layout) - x).abs().max() < 2e-3


def test_hard_particles_do_not_move(oo, large):
    scaling = Aligned.fit([oo], hard_from=1.0, eta_max=2.5)
    z, x, layout = encoded(scaling, large)
    away = jittered(x)
    back = moved_to_sums(scaling, away, z, layout)
    hard = is_hard(x)
    assert 0 < hard.sum() < len(x)
    torch.testing.assert_close(back[hard], x[hard], rtol=0, atol=1e-6)
    assert (back[~hard, :4] != away[~hard, :4]).any(dim=1).all()


def test_close_particles_move_together(scaling, large):
    """What moves an event is smooth: a pair within 0.1 moves apart by less than it moves."""
    z, x, layout = encoded(scaling, large)
    away = jittered(x)
    back = moved_to_sums(scaling, away, z, layout)
    before, after = (
        scaling.decode_particles(one, large.events, large.n_particles)[1:3] for one in (away, back)
    )
    moves = np.stack([after[0] - before[0], np.angle(np.exp(1j * (after[1] - before[1])))])
    together, apart = [], []
    for start, stop in zip(large.offsets[:-1], large.offsets[1:], strict=True):
        i, j = np.stack(np.triu_indices(stop - start, 1)) + start
        turn = np.angle(np.exp(1j * (before[1][i] - before[1][j])))
        near = np.hypot(before[0][i] - before[0][j], turn) < 0.1
        apart.append(np.square(moves[:, i[near]] - moves[:, j[near]]).sum(0))
        together.append(np.square(moves[:, i[near]]).sum(0))
    assert sum(map(len, apart)) > 1000
    # 2 where they moved as they liked.
    assert np.concatenate(apart).mean() < np.concatenate(together).mean()


def test_an_event_does_not_notice_its_company(scaling, oo):
    filled = np.flatnonzero(oo.n_particles > 0)
    events = oo.take(filled[np.argsort(oo.n_particles[filled])[::8][:40]])
    assert events.n_particles.min() < 8
    z, x, layout = encoded(scaling, events)
    away = jittered(x)
    together = moved_to_sums(scaling, away, z, layout)
    assert torch.isfinite(together).all()
    for k in (0, 5, 14):
        rows = slice(int(events.offsets[k]), int(events.offsets[k + 1]))
        offsets = torch.tensor([0, rows.stop - rows.start])
        alone = Layout.from_offsets(offsets, torch.device("cpu"))
        found = moved_to_sums(scaling, away[rows], z[k : k + 1], alone)
        torch.testing.assert_close(found, together[rows], rtol=0, atol=2e-5)
