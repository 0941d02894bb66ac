"""A number of jets with its error and floor, and the Wasserstein distance of one observable."""

from dataclasses import dataclass

import numpy as np

from hitools.core.compare import bootstrap
from hitools.core.compare.distances import between
from hitools.core.compare.sketch import Sketch
from hitools.core.features import Float64Array


@dataclass(frozen=True)
class Measured:
    """A number with its bootstrap error and its floor; NaN for what is not known."""

    value: float = np.nan
    error: float = np.nan
    floor: float = np.nan


def distance(
    reference: Sketch, sample: Sketch, scale: float, *, periodic: bool, seed: int
) -> tuple[Measured, float]:
    """W1 between two sides that both have values.

    Args:
        reference: one side.
        sample: the other.
        scale: what turns a distance between halves of the reference into a floor; see
            bootstrap.floor_scale.
        periodic: an angle in (-pi, pi], measured along the circle.
        seed: of the bootstrap and the halves.

    Returns:
        The distance, and within which bound of it the exact one lies: 0 while all values are held.
    """
    found = between(reference, sample, periodic=periodic, seed=seed)
    error, floor = float(bootstrap.spread(found.bootstrap)), scale * mean_of_known(found.halves)
    return Measured(found.value, error, floor), found.bound


def mean_of_known(values: Float64Array) -> float:
    """The mean of what is finite; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else np.nan
