"""Normal scores of what is left of a normal law below a threshold.

Of the particles below a hard one's pT the scores are cut off at the top; their own normal scores
are not, and no sample of these ever lies above the threshold.
"""

import math
from typing import Final

import torch
from torch import Tensor

_FARTHEST: Final = 30.0
"""Score whose probability a double still holds."""

_LEAST: Final = 1e-9
"""Probability to be above a score among those below: these stay within 6."""


def among_all(score: Tensor, threshold: float) -> Tensor:
    """Score among all of what has this score among those below the threshold; of any shape."""
    above = _above(threshold)
    wide = score.double().clamp(min=-_FARTHEST)
    low = torch.special.ndtri(_share_below(wide) * (1 - above))
    high = -torch.special.ndtri(_share_below(-wide) * (1 - above) + above)
    return torch.where(wide < 0, low, high).clamp(max=threshold).to(score.dtype)


def among_lower(score: Tensor, threshold: float) -> Tensor:
    """The inverse, for scores below the threshold."""
    above = _above(threshold)
    wide = score.double().clamp(min=-_FARTHEST)
    low = torch.special.ndtri((_share_below(wide) / (1 - above)).clamp(max=1))
    rest = (_share_below(-wide) - above) / (1 - above)
    high = -torch.special.ndtri(rest.clamp(min=_LEAST))
    return torch.where(wide < 0, low, high).to(score.dtype)


def _share_below(score: Tensor) -> Tensor:
    """Of a normal law; torch's ndtr has no digits far below 0."""
    return torch.special.erfc(score / -math.sqrt(2)) / 2


def _above(threshold: float) -> float:
    """Probability of a normal number to be above."""
    return math.erfc(threshold / math.sqrt(2)) / 2
