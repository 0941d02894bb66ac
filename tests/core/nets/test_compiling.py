"""torch.compile: the same numbers, and no compilation for every size of batch."""

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo import config as dynamo

from hitools.core.nets import attention, pet
from hitools.core.nets.compiling import compile_network
from hitools.core.nets.layout import Layout
from hitools.core.nets.rotary import Turn
from hitools.core.nets.rotary_config import RotaryConfig
from hitools.core.nets.rotary_net import RotaryBlock
from tests.core.nets.support import SMALL, lively, offsets_of, random_events

# PyTorch's own, while it traces.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

BATCHES = ([12, 12, 1, 30], [7, 50], [9, 9, 9, 9, 3, 21])


@pytest.fixture
def traced(monkeypatch):
    """Compiles a network: graphs are traced as for the real compiler, and then run as they are."""
    for module, name in ((attention, "attend"), (pet, "nearest_neighbours")):
        monkeypatch.setattr(module, name, getattr(module, name))  # put back afterwards
    compile_module = nn.Module.compile
    monkeypatch.setattr(
        nn.Module, "compile", lambda self, **kw: compile_module(self, backend="eager", **kw)
    )
    # PyTorch would warn and go on without compiling. What is set inside ends with the block.
    with dynamo.patch(recompile_limit=dynamo.recompile_limit, fail_on_recompile_limit_hit=True):
        yield compile_network
    torch.compiler.reset()


@pytest.fixture
def compiled(traced):
    """The paper's network, compiled."""
    model = lively(SMALL)
    traced(model)
    return model


class OneBlock(nn.Module):
    """What the rotary network repeats."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.block = RotaryBlock(RotaryConfig(width=16, n_heads=1, head_width=24))

    def compiled_parts(self) -> list[nn.Module]:
        return [self.block]

    def forward(self, counts: list[int]) -> Tensor:
        layout = Layout.from_offsets(offsets_of(counts), torch.device("cpu"))
        generator = torch.Generator().manual_seed(1)
        x, eta, phi = torch.randn(3, sum(counts), 16, generator=generator)
        condition = torch.randn(len(counts), 16, generator=generator)
        return self.block(x, condition, Turn(eta[:, 0], phi[:, 0], 12), layout)


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


def test_nor_do_those_of_the_rotary_network(traced):
    """Attention goes by events of one length, of which every batch has other numbers."""
    plain, compiled = OneBlock(), OneBlock()
    traced(compiled)
    with torch.no_grad():
        for counts in BATCHES[:2]:
            compiled(counts)
        with torch.compiler.set_stance("fail_on_recompile"):
            found = compiled(BATCHES[2])
        assert (found - plain(BATCHES[2])).norm() <= 1e-5 * found.norm()
