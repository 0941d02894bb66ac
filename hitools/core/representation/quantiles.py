"""Monotone maps between a quantity and a score of known distribution: made from its quantiles.

A network that sees the scores has the one-dimensional distribution right from the start, tails
included, and only dependences are left to learn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor

from hitools.core.features import Float64Array, FloatArray

Law = Literal["normal", "rayleigh"]

N_KNOTS: Final = 161
LARGEST_SCORE: Final = 6.0
"""Knots reach to where a normal number lies once in 10^9; beyond, the map goes on in a line."""

CLASS_WIDTH: Final = 0.4
"""Of the score that a conditional map is given."""

LEAST_IN_CLASS: Final = 200

_EDGE: Final = 8
"""Of N_KNOTS, at the ends of a sample: their slope goes on beyond."""

_LEAST_STEP: Final = 1e-6
"""Of a value, to the next knot: a few digits of float32, for a flat map has no inverse."""


@dataclass(frozen=True)
class QuantileMap:
    """A piecewise linear map value -> score, increasing, through equal probabilities.

    Attributes:
        law: distribution of the scores: standard normal, or the length of a two-dimensional
            standard normal vector (Rayleigh).
        values: value at each knot; the knots' scores are evenly spaced.
    """

    law: Law
    values: tuple[float, ...]
    _tensors: dict[torch.device, Tensor] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def fit(
        cls, sample: FloatArray, law: Law = "normal", *, n_knots: int = N_KNOTS
    ) -> "QuantileMap":
        """From a sample.

        Args:
            sample: (n,) values, n at least 1, finite; lengths, from 0 on, for "rayleigh".
            law: of the scores.
            n_knots: the fewer, the less of the sample's noise is in the map, and of its shape.
        """
        ordered = np.sort(np.asarray(sample, np.float64))
        if law == "rayleigh":
            ordered = np.concatenate([[0.0], ordered])
        n = len(ordered)
        # Beyond the sample's own extremes the last slope that the data show goes on.
        reach = float(_score_at(np.array([1 - 0.5 / n]), law)[0])
        scores = _scores(law, n_knots)
        inside = np.clip(scores, -reach if law == "normal" else 0.0, reach)
        ranks = _probability(inside, law) * n - 0.5
        values = np.interp(ranks, np.arange(n), ordered)
        values = _continued(scores, values, inside)
        for k in range(1, len(values)):
            values[k] = max(values[k], values[k - 1] + _LEAST_STEP * max(abs(values[k - 1]), 1e-3))
        return cls(law, tuple(float(f"{value:.9g}") for value in values))

    @property
    def first(self) -> float:
        """Score of the first knot."""
        return -LARGEST_SCORE if self.law == "normal" else 0.0

    @property
    def spacing(self) -> float:
        """Of the scores of the knots."""
        return (LARGEST_SCORE - self.first) / (len(self.values) - 1)

    def _knots(self, device: torch.device) -> Tensor:
        if device not in self._tensors:
            self._tensors[device] = torch.tensor(self.values, device=device)
        return self._tensors[device]

    def encode(self, values: Tensor) -> Tensor:
        """Scores of values, of any shape."""
        knots = self._knots(values.device)
        right = torch.searchsorted(knots, values.contiguous()).clamp(1, len(knots) - 1)
        low, high = knots[right - 1], knots[right]
        return self.first + self.spacing * (right - 1 + (values - low) / (high - low))

    def decode(self, scores: Tensor) -> Tensor:
        """The inverse of encode."""
        return self.decode_with_slope(scores)[0]

    def decode_with_slope(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Values, and how fast they rise with the score."""
        knots = self._knots(scores.device)
        place = (scores - self.first) / self.spacing
        left = place.detach().long().clamp(0, len(knots) - 2)
        low = knots[left]
        step = knots[left + 1] - low
        return low + (place - left) * step, step / self.spacing

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"law": self.law, "values": list(self.values)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "QuantileMap":
        """The inverse of to_dict."""
        return cls(values["law"], tuple(map(float, values["values"])))


@dataclass(frozen=True)
class QuantileMaps:
    """Maps of one law, one for each column: all at once, which spares small operations.

    Attributes:
        maps: of the columns.
    """

    maps: tuple[QuantileMap, ...]
    _tensors: dict[torch.device, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def _knots(self, device: torch.device) -> Tensor:
        if device not in self._tensors:
            self._tensors[device] = torch.tensor([one.values for one in self.maps], device=device)
        return self._tensors[device]

    def encode(self, values: Tensor) -> Tensor:
        """(n, n_maps) values to scores."""
        place = _places(self._knots(values.device), values.T.contiguous())
        return (self.maps[0].first + self.maps[0].spacing * place).T

    def decode(self, scores: Tensor) -> Tensor:
        """The inverse of encode."""
        place = (scores.T - self.maps[0].first) / self.maps[0].spacing
        return _values(self._knots(scores.device), place).T


@dataclass(frozen=True)
class ConditionalMap:
    """A map value -> score given another score: what is normal within every class of events.

    Attributes:
        at: of the other score, increasing.
        maps: at each of these; between them knots lie on lines, beyond them they stay.
    """

    at: tuple[float, ...]
    maps: tuple[QuantileMap, ...]
    _tensors: dict[torch.device, tuple[Tensor, Tensor]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def fit(cls, sample: FloatArray, given: FloatArray, law: Law = "normal") -> "ConditionalMap":
        """From a sample.

        Args:
            sample: (n,) values; see QuantileMap.fit.
            given: (n,) scores of something else.
            law: of the scores.
        """
        order = np.argsort(given, kind="stable")
        values, ordered = np.asarray(sample, np.float64)[order], np.asarray(given, float)[order]
        edges = np.arange(-LARGEST_SCORE, LARGEST_SCORE, CLASS_WIDTH)
        bounds = [0]
        for place in np.searchsorted(ordered, edges).tolist():
            if min(place - bounds[-1], len(ordered) - place) >= LEAST_IN_CLASS:
                bounds.append(place)
        classes = [slice(*pair) for pair in pairwise([*bounds, len(ordered)])]
        return cls(
            tuple(float(f"{ordered[one].mean():.6g}") for one in classes),
            tuple(QuantileMap.fit(values[one], law) for one in classes),
        )

    def _knots(self, given: Tensor) -> Tensor:
        """(n, knots) of (n,) other scores."""
        device = given.device
        if device not in self._tensors:
            rows = [one.values for one in self.maps]
            pair = torch.tensor(self.at, device=device), torch.tensor(rows, device=device)
            self._tensors[device] = pair
        at, knots = self._tensors[device]
        if len(at) == 1:
            return knots.repeat(len(given), 1)
        right = torch.searchsorted(at, given.contiguous()).clamp(1, len(at) - 1)
        low, high = at[right - 1], at[right]
        weight = ((given - low) / (high - low)).clamp(0, 1)[:, None]
        return knots[right - 1] + weight * (knots[right] - knots[right - 1])

    def encode(self, values: Tensor, given: Tensor) -> Tensor:
        """Scores (n,) of (n,) values, given (n,) other scores."""
        place = _places(self._knots(given), values[:, None])[:, 0]
        return self.maps[0].first + self.maps[0].spacing * place

    def decode(self, scores: Tensor, given: Tensor) -> Tensor:
        """The inverse of encode."""
        place = (scores - self.maps[0].first) / self.maps[0].spacing
        return _values(self._knots(given), place[:, None])[:, 0]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"at": list(self.at), "maps": [one.to_dict() for one in self.maps]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ConditionalMap":
        """The inverse of to_dict; of a QuantileMap's, one that nothing else enters."""
        if "maps" not in values:
            return cls((0.0,), (QuantileMap.from_dict(values),))
        maps = tuple(QuantileMap.from_dict(one) for one in values["maps"])
        return cls(tuple(map(float, values["at"])), maps)


def _places(knots: Tensor, values: Tensor) -> Tensor:
    """(n, k) values to their places among (n, knots) of each row."""
    right = torch.searchsorted(knots, values).clamp(1, knots.shape[1] - 1)
    low, high = knots.gather(1, right - 1), knots.gather(1, right)
    return right - 1 + (values - low) / (high - low)


def _values(knots: Tensor, place: Tensor) -> Tensor:
    """The inverse of _places."""
    left = place.long().clamp(0, knots.shape[1] - 2)
    low = knots.gather(1, left)
    return low + (place - left) * (knots.gather(1, left + 1) - low)


def _scores(law: Law, n_knots: int) -> Float64Array:
    return np.linspace(-LARGEST_SCORE if law == "normal" else 0.0, LARGEST_SCORE, n_knots)


def _probability(scores: Float64Array, law: Law) -> Float64Array:
    from scipy.special import ndtr

    return ndtr(scores) if law == "normal" else -np.expm1(-(scores**2) / 2)


def _score_at(probability: Float64Array, law: Law) -> Float64Array:
    from scipy.special import ndtri

    return ndtri(probability) if law == "normal" else np.sqrt(-2 * np.log1p(-probability))


def _continued(scores: Float64Array, values: Float64Array, inside: Float64Array) -> Float64Array:
    """Where scores lie beyond the sample, values along the line through its outer knots."""
    values = values.copy()
    known = np.flatnonzero(scores == inside)
    if len(known) < 2:
        return values
    width = min(max(_EDGE * len(scores) // N_KNOTS, 1), len(known) - 1)
    for edge, inner in ((known[0], known[width]), (known[-1], known[-1 - width])):
        slope = (values[edge] - values[inner]) / (scores[edge] - scores[inner])
        beyond = scores < scores[edge] if edge < inner else scores > scores[edge]
        values[beyond] = values[edge] + slope * (scores[beyond] - scores[edge])
    return values
