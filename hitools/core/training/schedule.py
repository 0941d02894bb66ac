"""What follows from the length of a training: the learning rate and the average of the weights."""

from math import cos, pi
from typing import Final

SHARE_OF_AVERAGE: Final = 0.05
"""Of a training, over which weights are averaged at most: a longer memory lags behind."""


def rate_at(step: int, peak: float, warmup_steps: int, total_steps: int) -> float:
    """Rate of a step.

    Args:
        step: 0..total_steps-1.
        peak: highest rate, reached at the end of the warm-up.
        warmup_steps: steps of linear rise; 0 starts at the peak.
        total_steps: steps of the whole training; the rate after the last would be 0.
    """
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return peak * (1 + cos(pi * progress)) / 2


def decay_of_average(ema: float, total_steps: int) -> float:
    """Decay of the average of the weights: ema, or less where the training is short for it.

    An average over 1 / (1 - ema) steps still remembers the beginning of a training that is not
    many times as long. It spans SHARE_OF_AVERAGE of the steps at most.
    """
    return min(ema, max(1 - 1 / (SHARE_OF_AVERAGE * total_steps), 0.0))
