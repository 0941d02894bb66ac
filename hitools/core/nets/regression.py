"""What the known sums of an event say of its single particles, if these were independent otherwise.

Given its noised position a particle may have been in many places; given what the particles of the
event add up to, some of these are likelier. To first order that is a linear regression: every
particle moves by its covariance with the sums, times the inverse covariance of the sums, times what
they miss. All of it is known without training; the network learns only what is beyond it.

A contribution to a sum is a product of a factor of eta, one of pT and one of phi, which are
independent of each other in a particle, so that their moments are sums over a few places each.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

import torch
from torch import Tensor

from hitools.core.aligned import CIRCLE, Aligned
from hitools.core.known_sums import N_ETA, KnownSums
from hitools.core.nets.layout import Layout
from hitools.core.nets.stacks import stacks

N_NODES: Final = 13
"""Evenly spaced places of a score: near enough for the edges of the slices."""

REACH: Final = 3.6
"""Of the places of a score, in standard deviations."""

N_ANGLES: Final = 16

WINDOW: Final = 5.0
"""The same of the angles."""

RIDGE: Final = 0.02
"""Of a particle's typical contribution: sums are not matched more finely than this. Where noise
covers all, 1 more: sums of real events vary more than those of independent particles, and all of
that put into first-order shifts overshoots."""

LARGEST_SHIFT: Final = 3.0
"""Of a coordinate, bent down to this: beyond, a first order says nothing."""


_NO_SHIFT: Final = 1e6

_LEAST_VARIANCE: Final = 1e-8
"""Of a logarithm: the square root has no slope at 0."""


@dataclass(frozen=True)
class Places:
    """Where each particle may have been in one coordinate or two, and k factors there.

    Attributes:
        factors: (n_total, m, k) at m places.
        weights: (n_total or 1, m) of the places, 1 in all.
        steps: (n_total, m, d) from the mean place.
        mean: (n_total, k) of the factors.
        second: (n_total, k, k) float64 mean of their products. Late in the diffusion little is
            left of it less the product of the means, and what rounding leaves would depend on what
            an event is batched with.
    """

    factors: Tensor
    weights: Tensor
    steps: Tensor
    mean: Tensor
    second: Tensor

    @classmethod
    def of(cls, factors: Tensor, weights: Tensor, places: Tensor) -> "Places":
        """From (n_total, m, k) factors and (n_total, m, d) coordinates."""
        weighted = factors * weights[:, :, None]
        steps = places - (places * weights[:, :, None]).sum(1, keepdim=True)
        second = weighted.double().mT @ factors.double()
        return cls(factors, weights, steps, weighted.sum(1), second)

    def tilted(self, slope: Tensor) -> tuple[Tensor, Tensor]:
        """What becomes of the mean place where the likelihood of places changes, to first order.

        Args:
            slope: (n_total, k) change of the log-likelihood by each factor.

        Returns:
            (n_total, d) shift of the mean, and (n_total, 1) standard deviation of the change.
        """
        change = (self.factors * slope[:, None]).sum(2)
        change = change - (change * self.weights).sum(1, keepdim=True)
        weighted = change * self.weights
        variance = (weighted * change).sum(1, keepdim=True)
        shift = (weighted[:, :, None] * self.steps).sum(1)
        return shift, variance.clamp(min=_LEAST_VARIANCE).sqrt()


class Regression:
    """The regression of particles on the sums of their event, at one time.

    Attributes:
        pt: places in the score of pT.
        eta: in the score of eta.
        phi: on the circle, along and across the direction of the noised point.
        expected: (n_total, n_sums) what each particle contributes on average.
    """

    @torch.no_grad()
    def __init__(
        self,
        representation: Aligned,
        x: Tensor,
        psi: Tensor,
        alpha: Tensor,
        sigma: Tensor,
        layout: Layout,
    ) -> None:
        """All that does not depend on what the sums miss.

        Args:
            representation: defines factors and sums.
            x: (n_total, 4) noised particles.
            psi: (n_total,) psi_2 of their events.
            alpha: (n_events, 1) amplitude of the signal.
            sigma: (n_events, 1) amplitude of the noise.
            layout: which particles form an event.
        """
        signal, noise = layout.spread(alpha), layout.spread(sigma)
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            nodes, weights = _normal_places(x.device)
            scores = signal[:, :, None] * x[:, :2, None] + noise[:, :, None] * nodes
            pt, eta = scores.unbind(1)
            self.pt = Places.of(representation.pt_factors(pt), weights, pt[:, :, None])
            self.eta = Places.of(representation.eta_factors(eta), weights, eta[:, :, None])
            turn, weights = _angles(x[:, 2:].norm(dim=1, keepdim=True), signal, noise)
            angle = torch.atan2(x[:, 3], x[:, 2])[:, None] + turn
            circle = CIRCLE * torch.stack([turn.cos(), turn.sin()], dim=2)
            factors = representation.phi_factors(angle, psi[:, None])
            self.phi = Places.of(factors, weights, circle)
            self._known = representation.known
            self.expected = self._known.contributions(self.eta.mean, self.pt.mean, self.phi.mean)
            covariance = self._covariances(layout)
            softness = RIDGE + 1 - alpha
            ridge = softness.square() * layout.n_particles.clamp(min=1)[:, None]
            covariance += ridge[:, :, None] * torch.eye(covariance.shape[1], device=x.device)
            self._root = _root_of(covariance)
        self._layout = layout

    def shift(self, missing: Tensor) -> Tensor:
        """How far particles move where their events miss so much.

        Args:
            missing: (n_events, n_sums).

        Returns:
            (n_total, 4): of the scores of pT and eta, and on the circle along and across.
        """
        solved = torch.cholesky_solve(missing[:, :, None], self._root)[:, :, 0]
        known = self._known
        products = solved.new_zeros(len(solved), N_ETA * known.n_pt * known.n_phi)
        products[:, _products(known, solved.device)] = solved / solved.new_tensor(known.scales)
        share = self._layout.spread(products).view(-1, N_ETA, known.n_pt, known.n_phi)
        of_score = (share * self.phi.mean[:, None, None]).sum(3)
        others = self.eta.mean[:, :, None] * self.pt.mean[:, None]
        pt, pt_change = self.pt.tilted((of_score * self.eta.mean[:, :, None]).sum(1))
        eta, eta_change = self.eta.tilted((of_score * self.pt.mean[:, None]).sum(2))
        circle, _ = self.phi.tilted((share * others[..., None]).sum((1, 2)))
        # A first order goes too far where the likelihood changes by more than a factor e: the
        # tail of pT would grow, and particles would gather in waves as wide as the slices of eta.
        shift = torch.cat([pt / (1 + pt_change), eta / (1 + eta_change), circle], dim=1)
        return LARGEST_SHIFT * torch.tanh(shift / LARGEST_SHIFT)

    def _covariances(self, layout: Layout) -> Tensor:
        """Of the sums, (n_events, n_sums, n_sums)."""
        device = self.expected.device
        of_eta, of_pt, of_phi = (_pairs(one.second) for one in (self.eta, self.pt, self.phi))
        first = (of_eta[:, :, None] * of_pt[:, None]).flatten(1)
        entry, scale = _moments(self._known, device)
        n_sums = len(self._known)
        found = self.expected.new_zeros(len(layout.counts), n_sums, n_sums)
        for stack in stacks(layout, device):
            a, b, m = (
                one[stack.rows] * stack.real[..., None] for one in (first, of_phi, self.expected)
            )
            m = m.double()
            moments = (a.mT @ b).flatten(1)
            found[stack.events] = (moments[:, entry] * scale - m.mT @ m).float()
        return found


def _pairs(second: Tensor) -> Tensor:
    """(n, k, k) symmetric to (n, k (k + 1) / 2), row by row of the upper half."""
    row, column = torch.triu_indices(*second.shape[1:], device=second.device)
    return second[:, row, column]


def _number_of_pair(k: int) -> Tensor:
    """(k, k) where _pairs has each element."""
    number = torch.zeros(k, k, dtype=torch.int64)
    row, column = torch.triu_indices(k, k)
    number[row, column] = number[column, row] = torch.arange(len(row))
    return number


@cache
def _moments(known: KnownSums, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each two sums, which moment of pairs of factors, and its scale, (n_sums, n_sums)."""
    sizes = N_ETA, known.n_pt, known.n_phi
    eta, pt, phi = (
        _number_of_pair(k)[which[:, None], which]
        for k, which in zip(sizes, torch.tensor(known.factors).T, strict=True)
    )
    n_pt, n_phi = (k * (k + 1) // 2 for k in sizes[1:])
    scale = 1 / torch.tensor(known.scales)
    return ((eta * n_pt + pt) * n_phi + phi).to(device), (scale[:, None] * scale).to(device)


@cache
def _products(known: KnownSums, device: torch.device) -> Tensor:
    """(n_sums,) where each sum is among the products of factors (N_ETA, n_pt, n_phi)."""
    eta, pt, phi = torch.tensor(known.factors).T
    return ((eta * known.n_pt + pt) * known.n_phi + phi).to(device)


def _root_of(covariance: Tensor) -> Tensor:
    """Cholesky factors; where rounding left none, one so large that nothing is shifted by it."""
    root, failed = torch.linalg.cholesky_ex(covariance)
    none = _NO_SHIFT * torch.eye(covariance.shape[1], device=covariance.device)
    return torch.where((failed > 0)[:, None, None], none, root)


def _normal_places(device: torch.device) -> tuple[Tensor, Tensor]:
    """(N_NODES,) places and (1, N_NODES) weights of a standard normal number."""
    nodes = torch.linspace(-REACH, REACH, N_NODES, device=device)
    weights = torch.exp(-nodes.square() / 2)
    return nodes, (weights / weights.sum())[None]


def _angles(radius: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Angles from the noised direction to where the point on the circle may have been.

    The direction follows a von Mises law (Aligned.independent_velocity).

    Returns:
        (n_total, N_ANGLES) angles and weights.
    """
    concentration = alpha * CIRCLE * radius / sigma.square()
    half = (WINDOW / concentration.sqrt()).clamp(max=math.pi)
    grid = (torch.arange(N_ANGLES, device=radius.device) + 0.5) * (2 / N_ANGLES) - 1
    turn = half * grid
    # 1 - cos without cancellation.
    weights = torch.exp(-2 * concentration * (turn / 2).sin().square())
    return turn, weights / weights.sum(1, keepdim=True)
