"""Moments of what is known of a coordinate of a particle, given its noised value."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

_LEAST_VARIANCE = 1e-8
"""Of a logarithm: the square root has no slope at 0."""


@dataclass(frozen=True)
class Moments:
    """Of k factors of where each particle may have been in one coordinate or two.

    All are about the mean: late in the diffusion little is left of them, and the difference of
    two large numbers would be rounding, which depends on what an event is batched with.

    Attributes:
        mean: (n_total, k) of the factors.
        covariance: (n_total, k (k + 1) / 2) of them, in pairs.
        towards: (n_total, k, d) with the d coordinates.
    """

    mean: Tensor
    covariance: Tensor
    towards: Tensor

    @classmethod
    def of(cls, factors: Tensor, weights: Tensor, places: Tensor) -> "Moments":
        """Over m places.

        Args:
            factors: (n_total, k, m) at the places.
            weights: (n_total or 1, m) of the places, 1 in all.
            places: (n_total, d, m).
        """
        k = factors.shape[1]
        values = torch.cat([factors, places], dim=1)
        weights = weights[:, None]
        mean = (values * weights).sum(2, keepdim=True)
        centred = values - mean
        weighted = centred * weights
        products = weighted[:, :k] @ centred.mT
        row, column = pairs_of(k, mean.device)
        covariance = products.flatten(1).index_select(1, row * values.shape[1] + column)
        return cls(mean[:, :k, 0], covariance, products[:, :, k:])

    def at(self, place: Tensor) -> "Moments":
        """Of a table, one row a knot, to (n,) places between the knots, linearly."""
        parts = [self.mean, self.covariance, self.towards.flatten(1)]
        place = place.clamp(0, len(self.mean) - 1)
        left = place.long().clamp(0, len(self.mean) - 2)  # of what is not a number, too
        share = place - left
        found = functional.embedding_bag(
            torch.stack([left, left + 1], dim=1),
            torch.cat(parts, dim=1),
            per_sample_weights=torch.stack([1 - share, share], dim=1),
            mode="sum",
        )
        mean, covariance, towards = found.split([part.shape[1] for part in parts], dim=1)
        return Moments(mean, covariance, towards.unflatten(1, self.towards.shape[1:]))

    def with_known(self, rows: Tensor, factors: Tensor) -> "Moments":
        """The same, but for particles that are known: they are where they are.

        Args:
            rows: (n_known,) which.
            factors: (n_known, k) of them.
        """
        return Moments(
            self.mean.index_copy(0, rows, factors),
            self.covariance.index_fill(0, rows, 0.0),
            self.towards.index_fill(0, rows, 0.0),
        )

    def tilted(self, slope: Tensor) -> tuple[Tensor, Tensor]:
        """What becomes of the mean place where the likelihood of places changes, to first order.

        Args:
            slope: (n_total, k) change of the log-likelihood by each factor.

        Returns:
            (n_total, d) shift of the mean, and (n_total, 1) standard deviation of the change.
        """
        row, column = pairs_of(slope.shape[1], slope.device)
        twice = torch.where(row == column, 1.0, 2.0)[:, None].to(slope.dtype)
        variance = (self.covariance * products_of_pairs(slope)) @ twice
        shift = (slope[:, None] @ self.towards)[:, 0]
        return shift, variance.clamp(min=_LEAST_VARIANCE).sqrt()


@cache
def pairs_of(k: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows and columns of the upper half of a (k, k) matrix, row by row."""
    row, column = torch.triu_indices(k, k, device=device)
    return row, column


def products_of_pairs(values: Tensor) -> Tensor:
    """(n, k) to (n, k (k + 1) / 2) products of each two."""
    row, column = pairs_of(values.shape[1], values.device)
    return values.index_select(1, row) * values.index_select(1, column)


@cache
def number_of_pair(k: int) -> Tensor:
    """(k, k) where pairs_of has each element."""
    number = torch.zeros(k, k, dtype=torch.int64)
    row, column = torch.triu_indices(k, k)
    number[row, column] = number[column, row] = torch.arange(len(row))
    return number
