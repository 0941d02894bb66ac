"""torch.compile: the same numbers, and no compilation for every size of batch."""

import pytest
import torch
from torch import nn
from torch._dynamo import config as dynamo

from hitools.core.nets import attention, pet
from hitools.core.nets.compiling import compile_network
from tests.core.nets.support import SMALL, lively, random_events

# PyTorch's own, while it traces.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

BATCHES = ([12, 12, 1, 30], [7, 50], [9, 9, 9, 9, 3, 21])


@pytest.fixture
def compiled(monkeypatch):
    """A network whose graphs are traced as for the real compiler, and then run as they are."""
    for module, name in ((attention, "attend"), (pet, "nearest_neighbours")):
        monkeypatch.setattr(module, name, getattr(module, name))  # put back afterwards
    compile_module = nn.Module.compile
    monkeypatch.setattr(
        nn.Module, "compile", lambda self, **kw: compile_module(self, backend="eager", **kw)
    )
    model = lively(SMALL)
    # PyTorch would warn and go on without compiling. What is set inside ends with the block.
    with dynamo.patch(recompile_limit=dynamo.recompile_limit, fail_on_recompile_limit_hit=True):
        compile_network(model)
        yield model
    torch.compiler.reset()


def test_a_compiled_network_gives_the_same_numbers_and_gradients(compiled):
    plain = lively(SMALL)
    for counts in BATCHES:
        x, t, events, offsets = random_events(counts)
        outputs = []
        for model in (plain, compiled):
            model.zero_grad()
            particles = model.particle_velocity(x, t, events, offsets)
            vectors = model.event_velocity(events, t)
            (particles.square().sum() + vectors.square().sum()).backward()
            outputs.append((particles.detach(), vectors.detach()))
        for expected, found in zip(*outputs, strict=True):
            assert (found - expected).norm() <= 1e-5 * expected.norm()
        for one, other in zip(plain.parameters(), compiled.parameters(), strict=True):
            assert (other.grad - one.grad).norm() <= 1e-4 * one.grad.norm()


def test_batches_of_other_sizes_do_not_compile_again(compiled):
    with torch.no_grad():
        for counts in BATCHES[:2]:
            compiled.particle_velocity(*random_events(counts))
        with torch.compiler.set_stance("fail_on_recompile"):
            compiled.particle_velocity(*random_events(BATCHES[2]))
