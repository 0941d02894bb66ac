import torch
from torch.nn import functional

from hitools.core.nets.layers import GROUP_NORM_EPSILON, Dense, EventNorm, TimeEmbedding
from hitools.core.nets.layout import Layout
from tests.core.nets.support import offsets_of

COUNTS = [7, 1, 0, 30]


def test_event_norm_is_group_norm_of_each_event_alone_with_its_gradients():
    torch.manual_seed(0)
    norm = EventNorm(16)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    x = (3 + torch.randn(38, 16)).requires_grad_()
    layout = Layout.from_offsets(offsets_of(COUNTS), torch.device("cpu"))
    parts = [
        functional.group_norm(part.T[None], 1, norm.weight, norm.bias, GROUP_NORM_EPSILON)[0].T
        for part in x.split(COUNTS)
        if len(part)
    ]
    ours, expected = norm(x, layout), torch.cat(parts)
    torch.testing.assert_close(ours, expected)
    weights = torch.randn(38, 16)
    inputs = (x, norm.weight, norm.bias)
    for gradient, reference in zip(
        torch.autograd.grad((ours * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(gradient, reference, rtol=1e-4, atol=1e-5)


def test_rows_of_a_dense_layer_do_not_depend_on_their_company():
    torch.manual_seed(0)
    layer = Dense(128, 64)
    x = torch.randn(1000, 128)
    together = layer(x)
    for n in (1, 2, 3, 5, 17):
        torch.testing.assert_close(layer(x[:n]), together[:n], rtol=1e-6, atol=1e-6)


def test_time_embedding_separates_times_and_vanishes_at_zero():
    embedding = TimeEmbedding(32)
    out = embedding(torch.tensor([0.0, 0.5, 0.501]))
    assert not out[0].any()
    assert (out[1] - out[2]).norm() > 1e-3
