import warnings

import torch

from hitools.core.nets.attention import attend_by_runs, attend_jagged, flash_takes
from hitools.core.nets.layout import Layout
from tests.core.nets.support import offsets_of

COUNTS = [4, 4, 0, 1, 19]


def example() -> tuple[torch.Tensor, Layout]:
    qkv = torch.randn(28, 3, 2, 8, generator=torch.Generator().manual_seed(0))
    return qkv.requires_grad_(), Layout.from_offsets(offsets_of(COUNTS), torch.device("cpu"))


def by_the_formula(qkv: torch.Tensor) -> torch.Tensor:
    """softmax(q k / sqrt(d)) v, written out for each event and head."""
    outputs = []
    for event in qkv.split(COUNTS):
        q, k, v = event.unbind(1)
        scores = torch.einsum("ihd,jhd->hij", q, k) / 8**0.5
        outputs.append(torch.einsum("hij,jhd->ihd", scores.softmax(-1), v))
    return torch.cat(outputs)


def test_attention_stays_within_each_event():
    qkv, layout = example()
    torch.testing.assert_close(attend_by_runs(qkv, layout), by_the_formula(qkv))


def test_the_jagged_route_of_cuda_gives_the_same_with_the_same_gradient():
    qkv, layout = example()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch itself, at its first nested tensor
        jagged = attend_jagged(qkv, layout)
    torch.testing.assert_close(jagged, by_the_formula(qkv))
    weights = torch.randn(jagged.shape, generator=torch.Generator().manual_seed(1))
    (ours,) = torch.autograd.grad((jagged * weights).sum(), qkv)
    (expected,) = torch.autograd.grad((by_the_formula(qkv) * weights).sum(), qkv)
    torch.testing.assert_close(ours, expected)


def test_heads_that_flash_attention_has_no_kernel_for_take_the_other_route():
    def taken(width: int, dtype: torch.dtype = torch.bfloat16) -> bool:
        return flash_takes(torch.zeros(1, 3, 1, width, dtype=dtype))

    assert [taken(width) for width in (24, 32, 256, 28, 264)] == [True, True, True, False, False]
    assert not taken(32, torch.float32)
