"""Mixtures of normal laws in one number, as networks say them: their density, and how to draw."""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

LOG_WIDTHS: Final = (math.log(0.005), math.log(3.0))

LOG_ROOT: Final = math.log(2 * math.pi) / 2
"""Of the normal law's density at its middle, less."""


_FARTHEST: Final = 1e3
"""From the middle, where infinity has no gradient."""

_NOTHING: Final = 1e-300
"""Share of a normal law at least, where a number is drawn."""

_LEAST_SHARE: Final = 1e-12
"""Of what lies below the upper edge, where both edges are one in float32."""


def chosen_part(log_weight: Tensor, share: Tensor) -> Tensor:
    """(n, 1) which part of (n, k) mixtures (n,) even numbers choose."""
    through = log_weight.exp().cumsum(1)
    return (through < share[:, None] * through[:, -1:]).sum(1, keepdim=True)


def log_share_between(left: Tensor, right: Tensor) -> Tensor:
    """Logarithm of a standard normal law's share from left to right, which are apart.

    Both finite, of any shape.
    """
    left, right = _below_the_middle(left, right)[:2]
    log_right = torch.special.log_ndtr(right.clamp(-_FARTHEST, _FARTHEST))
    log_left = torch.special.log_ndtr(left.clamp(-_FARTHEST, _FARTHEST))
    return log_right + (-(log_left - log_right).expm1()).clamp(min=_LEAST_SHARE).log()


def drawn_between(left: Tensor, right: Tensor, number: Tensor) -> Tensor:
    """Numbers of a standard normal law from left to right, out of normal ones; of one shape."""
    left, right, above = _below_the_middle(left.double(), right.double())
    share = torch.special.ndtr(torch.where(above, -number, number).double())
    first, last = torch.special.ndtr(left), torch.special.ndtr(right)
    place = torch.special.ndtri((first + share * (last - first)).clamp(min=_NOTHING))
    place = torch.minimum(torch.maximum(place, left), right)
    return torch.where(above, -place, place).to(number.dtype)


def _below_the_middle(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both edges, mirrored where most between them is above the middle, and where that is.

    The difference of two shares near 1 has no digits.
    """
    above = left + right > 0
    return torch.where(above, -right, left), torch.where(above, -left, right), above


@dataclass(frozen=True)
class NormalMixture:
    """A mixture of normal laws, each (n, k)."""

    log_weight: Tensor
    mean: Tensor
    log_width: Tensor

    @classmethod
    def of(cls, said: Tensor, log_widths: tuple[float, float] = LOG_WIDTHS) -> "NormalMixture":
        """(n, 3 k) from the network; the least and the largest width."""
        logit, mean, log_width = said.float().unflatten(1, (-1, 3)).unbind(2)
        return cls(logit.log_softmax(1), mean, log_width.clamp(*log_widths))

    def log_below(self, place: Tensor) -> Tensor:
        """(n,) logarithm of the probability to be below (n,) places."""
        z = (place[:, None] - self.mean) * (-self.log_width).exp()
        return (self.log_weight + torch.special.log_ndtr(z)).logsumexp(1)

    def log_between(self, low: Tensor, high: Tensor) -> Tensor:
        """(n,) logarithm of the probability to be from (n,) low to (n,) high, which are apart.

        Either may be infinite.
        """
        rate = (-self.log_width).exp()
        left, right = (
            (edge.clamp(-_FARTHEST, _FARTHEST)[:, None] - self.mean) * rate for edge in (low, high)
        )
        return (self.log_weight + log_share_between(left, right)).logsumexp(1)

    def log_density(self, place: Tensor) -> Tensor:
        """(n,) logarithm of the density at (n,) places."""
        z = (place[:, None] - self.mean) * (-self.log_width).exp()
        return (self.log_weight - self.log_width - z.square() / 2).logsumexp(1) - LOG_ROOT

    def drawn(self, share: Tensor, number: Tensor) -> Tensor:
        """(n,) places from (n,) even numbers and (n,) normal ones."""
        part = chosen_part(self.log_weight, share)
        mean, log_width = (one.gather(1, part)[:, 0] for one in (self.mean, self.log_width))
        return mean + log_width.exp() * number
