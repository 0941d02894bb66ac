"""From the logit of a classifier to the weight w = C/(1-C) = p_ref/p_sample of an event.

A network that was stopped early is rarely calibrated: its logits are too large or too small. The
validation part corrects them by a scale and an offset (Platt scaling) fitted to the labels.
Isotonic regression, the usual alternative, returns steps with C = 0 and C = 1 at both ends, that
is weights of zero and infinity in the very tails that one wants to look at; two parameters keep
the order of all events.
"""

from dataclasses import dataclass

import numpy as np

from hitools.core.features import BoolArray, Float64Array, FloatArray


@dataclass(frozen=True)
class Calibration:
    """ln w = scale * logit + offset."""

    scale: float
    offset: float

    def log_weights(self, logits: FloatArray) -> Float64Array:
        """(n,) ln of the likelihood ratio reference / sample."""
        return self.scale * logits.astype(np.float64) + self.offset


def fit(logits: FloatArray, is_reference: BoolArray, weights: Float64Array) -> Calibration:
    """Minimise the weighted cross entropy over scale >= 0 and offset.

    A negative scale would turn a classifier round that does worse than chance on the validation
    part: it becomes 0, all weights are then equal.

    Args:
        logits: (n,) of the validation part.
        is_reference: (n,) labels.
        weights: (n,) with equal sums for both classes.
    """
    from scipy.optimize import minimize

    z = logits.astype(np.float64)
    sign = np.where(is_reference, 1.0, -1.0)
    share = weights / weights.sum()

    def loss(parameters: Float64Array) -> tuple[float, Float64Array]:
        margin = sign * (parameters[0] * z + parameters[1])
        slope = -sign * share / (1 + np.exp(np.clip(margin, -700, 700)))
        return float(share @ np.logaddexp(0, -margin)), np.array([slope @ z, slope.sum()])

    found = minimize(
        loss,
        x0=[1.0, 0.0],
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None), (None, None)],
        options={"ftol": 1e-14, "gtol": 1e-9},
    )
    return Calibration(float(found.x[0]), float(found.x[1]))
