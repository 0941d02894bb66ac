"""Small parts that both branches are built from: initialisation, time embedding, normalisation."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from hitools.core.nets.layout import Layout

N_FREQUENCIES = 32
LARGEST_FREQUENCY = 1000.0
FREQUENCY_RANGE = 10_000.0
GROUP_NORM_EPSILON = 1e-3
FEWEST_ROWS = 4


class Dense(nn.Linear):
    """A dense layer with Glorot-uniform weights and zero bias, as Keras starts it."""

    def reset_parameters(self) -> None:
        """Draw the initial weights."""
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(n, n_in) to (n, n_out)."""
        return dense(x, self.weight, self.bias)


def dense(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Rows times a matrix, (n, n_in) to (n, n_out), whose result for a row is its own.

    Matrix products of very few rows take a kernel that sums in another order. Padding them with
    rows of zeros keeps a lone event equal, to the bit on the CPU, to the same event among others.
    """
    missing = FEWEST_ROWS - len(x)
    if missing > 0:
        return functional.linear(functional.pad(x, (0, 0, 0, missing)), weight, bias)[: len(x)]
    return functional.linear(x, weight, bias)


class TimeEmbedding(nn.Module):
    """Diffusion time as sines and cosines, scaled by the time itself, through two dense layers."""

    def __init__(self, width: int) -> None:
        """Embed into width channels."""
        super().__init__()
        self.hidden = Dense(2 * N_FREQUENCIES, 2 * width, bias=False)
        self.out = Dense(2 * width, width, bias=False)

    def forward(self, t: Tensor) -> Tensor:
        """(n_events,) times in [0, 1] to (n_events, width)."""
        steps = torch.arange(N_FREQUENCIES, dtype=torch.float32, device=t.device)
        frequencies = torch.exp(-math.log(FREQUENCY_RANGE) / (N_FREQUENCIES - 1) * steps)
        t = t.float()[:, None]
        angle = t * frequencies * LARGEST_FREQUENCY
        waves = torch.cat([angle.sin(), angle.cos()], dim=-1) * t
        return functional.silu(self.out(functional.silu(self.hidden(waves))))


class EventNorm(nn.Module):
    """Normalise by one mean and one variance per event, over its particles and channels.

    This is group normalisation with a single group, as in the original, but over the real
    particles alone.
    """

    def __init__(self, width: int) -> None:
        """Scale and shift per channel, over width channels."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """(n_total, width) to the same shape."""
        with torch.autocast(x.device.type, enabled=False):
            return Normalise.apply(x.float(), self.weight, self.bias, layout)


class Normalise(torch.autograd.Function):
    """The arithmetic of EventNorm; its backward pass keeps one large tensor, not five."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, layout: Layout) -> Tensor:
        """(n_total, width), (width,), (width,)."""
        mean = layout.mean(x.mean(1))
        centred = x - layout.spread(mean)[:, None]
        variance = layout.mean(torch.linalg.vector_norm(centred, dim=1).square_() / x.shape[1])
        inverse_std = layout.spread(torch.rsqrt(variance + GROUP_NORM_EPSILON))[:, None]
        normalised = centred.mul_(inverse_std)
        ctx.save_for_backward(normalised, inverse_std, weight)
        ctx.layout = layout
        return torch.addcmul(bias, normalised, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, weight and bias."""
        (grad,) = grads
        normalised, inverse_std, weight = ctx.saved_tensors
        layout, width = ctx.layout, len(weight)
        projection = grad * normalised
        # What a common shift and a common stretch of the event would change is taken out.
        shift = layout.spread(layout.mean(grad @ weight / width))
        stretch = layout.spread(layout.mean(projection @ weight / width))
        d_x = (grad * weight).sub_(shift[:, None])
        d_x.addcmul_(normalised, stretch[:, None], value=-1).mul_(inverse_std)
        return d_x, projection.sum(0), grad.sum(0), None


class LayerScale(nn.Module):
    """A learned factor per channel, small at first, on a residual branch (CaiT, 2103.17239)."""

    def __init__(self, width: int, value: float) -> None:
        """Start at value in each of width channels."""
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), value))

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        return x * self.weight


class Modulation(nn.Module):
    """Feature-wise scale and shift from a condition (FiLM): x (1 + scale) + shift."""

    def __init__(self, width: int, *, bias: bool = True) -> None:
        """Condition and x both have width channels."""
        super().__init__()
        self.dense = Dense(width, 2 * width, bias=bias)

    def forward(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """(n_events, width) to factor 1 + scale and shift, each (n_events, width)."""
        scale, shift = functional.gelu(self.dense(condition)).chunk(2, dim=-1)
        return 1 + scale, shift
