"""What lies around each particle: density and its pull at four scales, from the particles as
they are.

Particles of a jet or a resonance attract each other in the reverse diffusion; to first order their
velocity is a sum over pairs of a function of the distance. These sums are handed to the network as
features, so that it only has to weigh them. They carry no gradient, and no N x N matrix is kept.
"""

import math
from typing import Final

import torch
from torch import Tensor

from hitools.core.nets.layout import Layout
from hitools.core.nets.stacks import pieces

WIDTHS: Final = (2.0, 1.0, 0.5, 0.25)
"""Of the Gaussian kernels, in eta and in the chord of phi; each half of the one before."""

LEAST_WEIGHT: Final = 1e-8
"""Of a kernel that is still to be raised to the fourth power: below the smallest normal numbers
arithmetic is many times slower."""

DENSITIES: Final = ("n", "pt", "hard")
"""Of particles; weighted by pT; and by how hard they are, pT^2 / (pT + SOFT_PT), as among many soft
ones hard particles hardly count with pT."""

SOFT_PT: Final = 3.0
"""Particles below are soft; in root mean squares of pT, some 2.4 GeV/c in O-O."""

ETA_RANGE: Final = 5.0
"""Over which particles are spread, to say what density to expect."""


def n_fields(n_densities: int) -> int:
    """Columns of fields."""
    return 3 * n_densities * len(WIDTHS)


@torch.no_grad()
def fields(
    eta: Tensor,
    phi: Tensor,
    pt: Tensor,
    n_densities: int,
    layout: Layout,
    known: Tensor | None = None,
) -> Tensor:
    """Sums over the other particles of the event, with Gaussian weights of the distance.

    Args:
        eta: (n_total,) positions.
        phi: (n_total,) azimuths.
        pt: (n_total,) expected pT, of order one.
        n_densities: the first of DENSITIES.
        layout: which rows form an event.
        known: (n_total,) which hard particles are known: the third density is of these alone then.

    Returns:
        (n_total, n_fields(n_densities)): for each width the excess of a density over an even one of
        particles and the pull in eta and in phi, in units of their random walk.
    """
    device = eta.device
    u, v = phi.cos(), phi.sin()
    points = torch.stack([eta, u, v], dim=1).float()
    plain = torch.stack([torch.ones_like(eta), eta, u, v], dim=1)
    hardness = pt.square() / (pt + SOFT_PT)
    if known is not None:
        hardness = hardness * known
    weights = torch.stack([torch.ones_like(pt), pt, hardness], dim=1)
    sources = (weights[:, :n_densities, None] * plain[:, None]).flatten(1).float()
    # One row more than particles: results of padding go there.
    sums = sources.new_zeros(len(sources) + 1, len(WIDTHS) * sources.shape[1])
    # Differences of near particles: in float32 under autocast too.
    with torch.autocast(device.type, enabled=False):
        left, right = _exponents(points)
        for piece in pieces(layout, device):
            here, there, source = (piece.take(one) for one in (right, left, sources))
            for tile in piece.tiles():
                # The kernel is symmetric: few long rows times it are faster than it times them.
                kernel = (there @ here[:, tile].mT).exp_()
                of_widths = [source.mT @ kernel]
                for _ in WIDTHS[1:]:
                    kernel.clamp_(min=LEAST_WEIGHT).square_().square_()  # half the width
                    of_widths.append(source.mT @ kernel)
                piece.put(torch.cat(of_widths, dim=1).mT, sums, tile)
        count = layout.spread(layout.n_particles[:, None])
        # A particle alone in its event has no row of sums, which its own part would be in.
        own = sources * (count > 1)
        others = sums[:-1].unflatten(1, (len(WIDTHS), -1)) - own[:, None]
        return _features(others, points, count)


def _exponents(points: Tensor) -> tuple[Tensor, Tensor]:
    """Factors (n_total, 5), twice, of the exponents -d^2 / 2 w^2 of the widest kernel."""
    points = points / WIDTHS[0]
    half = points.square().sum(1, keepdim=True) / 2
    one = torch.ones_like(half)
    return torch.cat([points, -half, -one], dim=1), torch.cat([points, one, half], dim=1)


def _features(sums: Tensor, points: Tensor, count: Tensor) -> Tensor:
    """(n_total, widths, 4 n_densities) sums over others, (n_total, 3), (n_total, 1) to fields."""
    eta_i, u_i, v_i = points[:, :, None].unbind(1)
    widths = sums.new_tensor(WIDTHS)
    expected = (count - 1).clamp(min=0) * widths**2 / ETA_RANGE
    walk = (expected + 1).sqrt()
    parts = []
    for n, eta, u, v in (one.unbind(2) for one in sums.split(4, dim=2)):
        parts += [
            (n - expected) / walk,
            (eta - eta_i * n) / (walk * widths),
            (u_i * v - v_i * u) / (walk * widths),
        ]
    # A jet at the centre of its own cone is far out in these units: bend the tail.
    return torch.asinh(torch.cat(parts, dim=1) / math.pi) * math.pi
