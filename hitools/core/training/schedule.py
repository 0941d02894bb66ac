"""The learning rate over a training: linear warm-up, then half a cosine down to zero."""

from math import cos, pi


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
