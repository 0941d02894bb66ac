import pytest
import torch

from hitools.core.batch import EventBatch
from hitools.core.nets.config import NetConfig
from hitools.core.nets.model import Denoiser
from tests.core.nets.support import SMALL, lively, offsets_of, random_events


def relative_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(((a - b).norm() / b.norm()).detach())


def test_the_paper_s_parameter_counts():
    model = Denoiser()
    counts = {
        part: sum(p.numel() for p in getattr(model, part).parameters())
        for part in ("body", "head", "event")
    }
    assert counts == {"body": 1_313_408, "head": 416_006, "event": 417_803}
    assert sum(p.numel() for p in model.parameters()) == 2_147_217


def test_an_event_does_not_notice_what_it_is_batched_with(oo: EventBatch):
    model = lively()
    counts = oo.n_particles[:40].tolist()
    x, t, events, offsets = random_events(counts)
    with torch.no_grad():
        together = model.particle_velocity(x, t, events, offsets).split(counts)
        for k in range(0, 40, 3):
            one = slice(k, k + 1)
            alone = model.particle_velocity(
                x[offsets[k] : offsets[k + 1]], t[one], events[one], torch.tensor([0, counts[k]])
            )
            assert relative_difference(alone, together[k]) <= 1e-6
        event_together = model.event_velocity(events, t)
        event_alone = model.event_velocity(events[:1], t[:1])
        assert relative_difference(event_alone, event_together[:1]) <= 1e-6


def test_empty_events_and_lone_particles_pass_through_the_network():
    model = lively(SMALL)
    counts = [0, 1, 30, 0, 2, 4, 5, 0]
    x, t, events, offsets = random_events(counts)
    out = model.particle_velocity(x, t, events, offsets)
    assert out.shape == x.shape
    assert out.isfinite().all()
    filled = torch.tensor(counts) > 0
    without_empty = model.particle_velocity(
        x, t[filled], events[filled], offsets_of([count for count in counts if count])
    )
    for alone, among in zip(
        without_empty.split([n for n in counts if n]),
        out.split([n for n in counts if n]),
        strict=True,
    ):
        assert relative_difference(among, alone) <= 1e-6
    nothing = model.particle_velocity(x[:0], t[:2], events[:2], torch.tensor([0, 0, 0]))
    assert nothing.shape == (0, 6)


def test_particles_have_no_order():
    model = lively(SMALL)
    x, t, events, offsets = random_events([40, 25])
    order = torch.cat([torch.randperm(40), 40 + torch.randperm(25)])
    with torch.no_grad():
        out = model.particle_velocity(x, t, events, offsets)
        shuffled = model.particle_velocity(x[order], t, events, offsets)
    torch.testing.assert_close(shuffled, out[order], rtol=1e-4, atol=1e-4)


def test_every_parameter_learns():
    model = lively(SMALL)
    x, t, events, offsets = random_events([12, 30])
    particles = model.particle_velocity(x, t, events, offsets)
    (particles.square().sum() + model.event_velocity(events, t).square().sum()).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_gradients_are_those_of_finite_differences():
    model = lively(SMALL)
    x, t, events, offsets = random_events([15, 3])
    x.requires_grad_()
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(4))

    def value(points: torch.Tensor) -> torch.Tensor:
        return (model.particle_velocity(points, t, events, offsets) * weights).sum()

    (gradient,) = torch.autograd.grad(value(x), x)
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
    step = 1e-3
    with torch.no_grad():
        slope = (value(x + step * direction) - value(x - step * direction)) / (2 * step)
    assert float(slope) == pytest.approx(float((gradient * direction).sum()), rel=1e-2)


def test_bfloat16_autocast_stays_near_float32():
    model = lively(SMALL)
    x, t, events, offsets = random_events([100, 64, 3])
    exact = model.particle_velocity(x, t, events, offsets)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model.particle_velocity(x, t, events, offsets)
    rounded.float().square().sum().backward()
    assert relative_difference(rounded.float(), exact) < 0.05
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.body.parameters())


def test_an_untrained_event_branch_predicts_no_velocity():
    velocity = Denoiser(SMALL).event_velocity(torch.randn(5, 11), torch.rand(5))
    assert not velocity.any()


def test_the_label_tells_classes_apart_and_the_first_is_the_default():
    model = lively(NetConfig(width=32, n_blocks=1, n_head_blocks=1, n_classes=2))
    x, t, events, offsets = random_events([20])
    first, second = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    default = model.particle_velocity(x, t, events, offsets)
    assert torch.equal(default, model.particle_velocity(x, t, events, offsets, first))
    assert (
        relative_difference(model.particle_velocity(x, t, events, offsets, second), default) > 0.01
    )


def test_weights_of_one_network_make_another_the_same():
    model, other = lively(SMALL, seed=0), lively(SMALL, seed=1)
    other.load_state_dict(model.state_dict())
    x, t, events, offsets = random_events([9, 21])
    assert torch.equal(
        model.particle_velocity(x, t, events, offsets),
        other.particle_velocity(x, t, events, offsets),
    )
