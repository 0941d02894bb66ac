import pytest
import torch
from torch.nn import functional

from hitools.core.nets import edges
from hitools.core.nets.edges import LocalLayer, PairMessages
from hitools.core.nets.layout import Layout
from hitools.core.nets.neighbours import nearest_neighbours
from tests.core.nets.support import offsets_of


def test_a_local_layer_is_the_mean_over_pairs_of_a_network_of_difference_and_centre():
    torch.manual_seed(0)
    counts = [30, 1, 4, 50]
    x = torch.randn(sum(counts), 6)
    layout = Layout.from_offsets(offsets_of(counts), torch.device("cpu"))
    indices, n_found = nearest_neighbours(x[:, :2], layout, 10)
    layer = LocalLayer(6, 16)
    with torch.no_grad():
        ours = layer(x, indices, n_found)
        for i in range(len(x)):
            nearby = x[indices[i, : n_found[i]]]
            pair = torch.cat([nearby - x[i], x[i].expand_as(nearby)], dim=1)
            message = functional.gelu(layer.out(functional.gelu(layer.hidden(pair))))
            torch.testing.assert_close(ours[i], message.mean(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_pairs", [1, 7, 1000])
def test_gradients_of_pair_messages_are_those_of_finite_differences(monkeypatch, n_pairs):
    monkeypatch.setitem(edges.PAIRS_PER_TILE, "cpu", n_pairs)
    torch.manual_seed(0)
    shapes = ((5, 4), (5, 4), (3, 4), (3,))
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    indices = torch.tensor([[1, 2, 3], [0, 2, 3], [0, 1, 3], [2, 1, 0], [4, 4, 4]])
    n_found = torch.tensor([3, 3, 2, 3, 1])
    assert torch.autograd.gradcheck(PairMessages.apply, (*inputs, indices, n_found))
