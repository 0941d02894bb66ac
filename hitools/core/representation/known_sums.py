"""The sums over its particles that are known of an event before its particles are.

Those in slices of eta (slices.py), whose totals agree with the event vector, and the sums of eta
and of phi. Of hard particles that are drawn before the others, the sums are known exactly. A
contribution to a sum is a product of a factor of eta, one of pT and one of phi, which are
independent of each other in a particle: the regression (nets/regression.py) lives on that.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
from torch import Tensor

from hitools.core.representation.slices import N_SLICES, N_WEIGHTS, SliceSums

N_ETA: Final = N_SLICES + 2
"""Factors of eta: how much of a particle is in each slice, its eta, and 1."""

N_WHOLE: Final = 6
"""Sums that the event vector tells: n, sum pT, Q_x and Q_y from psi_2, eta, phi."""

N_BALANCE: Final = 2
"""Sums of pT cos phi and pT sin phi, from psi_2: all particles of a collision add up to 0."""

N_TURNING: Final = N_WHOLE - 1 + N_BALANCE
"""Sums that turn with their event: those of N_WHOLE but phi, and of N_BALANCE."""


@dataclass(frozen=True)
class KnownSums:
    """Which sums are known.

    Attributes:
        slices: those in slices of eta.
    """

    slices: SliceSums

    @property
    def n_pt(self) -> int:
        """Factors of pT: the weights."""
        return N_WEIGHTS

    @property
    def n_phi(self) -> int:
        """Factors of phi: the waves from psi_2, and the azimuth in the laboratory with its seam."""
        return self.slices.n_waves + 1

    @cached_property
    def factors(self) -> tuple[tuple[int, int, int], ...]:
        """Of each sum: which factors of eta, pT and phi multiply to a contribution."""
        of_slices = ((piece, *what) for piece in range(N_SLICES) for what in self.slices.factors)
        return (*of_slices, (N_SLICES, 0, 0), (N_SLICES + 1, 0, self.slices.n_waves))

    @cached_property
    def scales(self) -> tuple[float, ...]:
        """A typical contribution of a particle to each sum."""
        return (*(N_SLICES * self.slices.scales), 1.0, 1.0)

    @cached_property
    def whole_scales(self) -> tuple[float, ...]:
        """The same for the sums of_whole."""
        of_slice, q = self.slices.scales, self.slices.q_column
        return (*of_slice[:2], *of_slice[q : q + 2], 1.0, 1.0)

    @property
    def _balance_column(self) -> int:
        """The first column of pT times the first wave among the sums of a slice."""
        return N_WEIGHTS + 2 * self.slices.vectors.index(("pt", 1))

    @property
    def turning_scales(self) -> tuple[float, ...]:
        """The same for the sums of_turning, but for that of eta."""
        first = self._balance_column
        return (*self.whole_scales[:-1], *self.slices.scales[first : first + N_BALANCE])

    def __len__(self) -> int:
        """Number of sums."""
        return self.slices.n_features + 2

    def _over_slices(self, values: Tensor) -> Tensor:
        return values[:, : self.slices.n_features].unflatten(1, (N_SLICES, -1)).sum(1)

    def of_whole(self, values: Tensor) -> Tensor:
        """(n, N_WHOLE) sums over all slices of (n, len(self)): n, sum pT, Q, eta, phi."""
        sums, q = self._over_slices(values), self.slices.q_column
        return torch.cat([sums[:, :2], sums[:, q : q + 2], values[:, self.slices.n_features :]], 1)

    def of_turning(self, values: Tensor) -> Tensor:
        """(n, N_TURNING) likewise: n, sum pT, Q, eta, pT cos phi, pT sin phi."""
        first = self._balance_column
        balance = self._over_slices(values)[:, first : first + N_BALANCE]
        return torch.cat([self.of_whole(values)[:, :-1], balance], dim=1)

    def contributions(self, eta: Tensor, pt: Tensor, phi: Tensor) -> Tensor:
        """What particles with these factors add to each sum, in units of scales.

        Args:
            eta: (n_total, N_ETA).
            pt: (n_total, n_pt).
            phi: (n_total, n_phi).

        Returns:
            (n_total, len(self)).
        """
        weight, wave = torch.tensor(self.slices.factors, device=pt.device).T
        in_a_slice = pt[:, weight] * phi[:, wave] / pt.new_tensor(self.slices.scales)
        in_slices = (eta[:, :N_SLICES, None] * in_a_slice[:, None]).flatten(1)
        return torch.cat([in_slices, eta[:, N_SLICES, None], phi[:, -1:]], dim=1)
