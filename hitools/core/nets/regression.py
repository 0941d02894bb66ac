"""What the known sums of an event say of its single particles, if these were independent otherwise.

Given its noised position a particle may have been in many places; given what the particles of the
event add up to, some of these are likelier. To first order that is a linear regression: every
particle moves by its covariance with the sums, times the inverse covariance of the sums, times what
they miss. All of it is known without training; the network learns only what is beyond it.

A contribution to a sum is a product of a factor of eta, one of pT and one of phi, which are
independent of each other in a particle, so that their moments are sums over a few places each.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Final

import torch
from torch import Tensor

from hitools.core.nets.layout import Layout
from hitools.core.nets.moments import Moments, number_of_pair, products_of_pairs
from hitools.core.nets.stacks import pieces
from hitools.core.representation.aligned import CIRCLE, Aligned, is_hard
from hitools.core.representation.known_sums import N_ETA, KnownSums

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

KNOTS: Final = 1201
"""Of a table of moments, where all events are at one time."""

FARTHEST: Final = 6.0
"""Noised score of the last knot: a normal number lies beyond once in 10^9."""

_NO_SHIFT: Final = 1e6


class Regression:
    """The regression of particles on the sums of their event, at one time.

    Attributes:
        pt: of the factors of pT, and its score.
        eta: of those of eta, and its score.
        phi: of those of phi, and the circle along and across the direction of the noised point.
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
            x: (n_total, 4 or 5) noised particles; the hard ones as they are.
            psi: (n_total,) psi_2 of their events.
            alpha: amplitude of the signal, (n_events, 1), or () where it is the same for all.
            sigma: of the noise, likewise.
            layout: which particles form an event.
        """
        signal, noise = layout.spread_times(alpha), layout.spread_times(sigma)
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            self.pt = _of_score(representation.soft_pt_factors, x[:, 0], signal, noise)
            self.eta = _of_score(representation.eta_factors, x[:, 1], signal, noise)
            turn, weights = _angles(x[:, 2:4].norm(dim=1, keepdim=True), signal, noise)
            angle = torch.atan2(x[:, 3], x[:, 2])[:, None] + turn
            circle = CIRCLE * torch.stack([turn.cos(), turn.sin()], dim=1)
            factors = representation.phi_factors(angle, psi[:, None])
            self.phi = Moments.of(factors, weights, circle)
            if representation.hard_from is not None:
                self._know(representation, x, psi, is_hard(x).nonzero()[:, 0])
            self._known = representation.known
            self.expected = self._known.contributions(self.eta.mean, self.pt.mean, self.phi.mean)
            covariance = self._covariances(layout)
            softness = RIDGE + 1 - alpha
            ridge = softness.square() * layout.n_particles.clamp(min=1)[:, None]
            covariance += ridge[:, :, None] * torch.eye(covariance.shape[1], device=x.device)
            self._root = _root_of(covariance)
        self._layout = layout

    def _know(self, representation: Aligned, x: Tensor, psi: Tensor, rows: Tensor) -> None:
        """The particles of these rows are where they are."""
        known, phi = x[rows], torch.atan2(x[rows, 3], x[rows, 2])
        self.pt = self.pt.with_known(rows, representation.pt_factors(known[:, 0]))
        self.eta = self.eta.with_known(rows, representation.eta_factors(known[:, 1]))
        self.phi = self.phi.with_known(rows, representation.phi_factors(phi, psi[rows]))

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
        share = products.view(-1, N_ETA * known.n_pt, known.n_phi)
        times = self._layout.times
        of_score = times(self.phi.mean, share.mT).unflatten(1, (N_ETA, known.n_pt))
        others = (self.eta.mean[:, :, None] * self.pt.mean[:, None]).flatten(1)
        pt, pt_change = self.pt.tilted((of_score * self.eta.mean[:, :, None]).sum(1))
        eta, eta_change = self.eta.tilted((of_score * self.pt.mean[:, None]).sum(2))
        circle, _ = self.phi.tilted(times(others, share))
        # A first order goes too far where the likelihood changes by more than a factor e: the
        # tail of pT would grow, and particles would gather in waves as wide as the slices of eta.
        shift = torch.cat([pt / (1 + pt_change), eta / (1 + eta_change), circle], dim=1)
        return LARGEST_SHIFT * torch.tanh(shift / LARGEST_SHIFT)

    def _covariances(self, layout: Layout) -> Tensor:
        """Of the sums, (n_events, n_sums, n_sums)."""
        device = self.expected.device
        (eta, eta_mean), (pt, pt_mean), (phi, phi_mean) = (
            (one.covariance, products_of_pairs(one.mean)) for one in (self.eta, self.pt, self.phi)
        )
        # Of a product of independent factors, from what is about the means alone:
        # E[a a'] E[b b'] - means, then the same of that and the third factor.
        means = _outer(eta_mean, pt_mean)
        first = _outer(eta, pt + pt_mean) + _outer(eta_mean, pt)
        second = phi + phi_mean
        entry, scale = _moments(self._known, device)
        found = self.expected.new_zeros(len(layout.counts), means.shape[1], phi.shape[1])
        for piece in pieces(layout, device):
            a, b, c, d = (piece.take(one) for one in (first, second, means, phi))
            found[piece.events] = torch.baddbmm(a.mT @ b, c.mT, d)
        return found.flatten(1)[:, entry] * scale


def _of_score(
    factors: Callable[[Tensor], Tensor], score: Tensor, signal: Tensor, noise: Tensor
) -> Moments:
    """Moments of factors of a normal score, given (n_total,) noised ones.

    At one time for all events they are a function of one number, and are looked up in a table.
    """
    nodes, weights = _normal_places(score.device)

    def moments(noised: Tensor) -> Moments:
        places = signal * noised[:, None] + noise * nodes
        return Moments.of(factors(places), weights, places[:, None])

    if signal.dim():
        return moments(score)
    knots = torch.linspace(-FARTHEST, FARTHEST, KNOTS, device=score.device)
    return moments(knots).at((score + FARTHEST) * ((KNOTS - 1) / (2 * FARTHEST)))


def _outer(first: Tensor, second: Tensor) -> Tensor:
    """(n, k) and (n, l) to (n, k l)."""
    return (first[:, :, None] * second[:, None]).flatten(1)


@cache
def _moments(known: KnownSums, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each two sums, which moment of pairs of factors, and its scale, (n_sums, n_sums)."""
    sizes = N_ETA, known.n_pt, known.n_phi
    eta, pt, phi = (
        number_of_pair(k)[which[:, None], which]
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
