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
from hitools.core.nets.stacks import stacks

WIDTHS: Final = (2.0, 1.0, 0.5, 0.25)
"""Of the Gaussian kernels, in eta and in the chord of phi; each half of the one before."""

N_FIELDS: Final = 6 * len(WIDTHS)

ETA_RANGE: Final = 5.0
"""Over which particles are spread, to say what density to expect."""


@torch.no_grad()
def fields(eta: Tensor, phi: Tensor, pt: Tensor, layout: Layout) -> Tensor:
    """Sums over the other particles of the event, with Gaussian weights of the distance.

    Args:
        eta: (n_total,) positions.
        phi: (n_total,) azimuths.
        pt: (n_total,) weights of the second density, of order one.
        layout: which rows form an event.

    Returns:
        (n_total, 6 len(WIDTHS)): for each width the excess of the density over an even one and the
        pull in eta and in phi, and the same weighted by pT, in units of their random walk.
    """
    device = eta.device
    u, v = phi.cos(), phi.sin()
    points = torch.stack([eta, u, v], dim=1).float()
    plain = torch.stack([torch.ones_like(eta), eta, u, v], dim=1)
    sources = torch.cat([plain, pt[:, None] * plain], dim=1).float()
    out = points.new_zeros(len(points) + 1, N_FIELDS)
    # Differences of near particles: in float32 under autocast too.
    with torch.autocast(device.type, enabled=False):
        for stack in stacks(layout, device):
            event, source = points[stack.rows], sources[stack.rows] * stack.real[..., None]
            left, right = _exponents(event)
            for tile in stack.tiles():
                here = event[:, tile]
                kernel = (left[:, tile] @ right).exp_()
                sums = []
                for place, _ in enumerate(WIDTHS):
                    if place:
                        kernel = kernel.square_().square_()  # half the width
                    sums.append(kernel @ source)
                out[stack.targets[:, tile]] = _features(
                    torch.stack(sums, 2), here, source[:, tile], stack.count
                )
    return out[:-1]


def _exponents(points: Tensor) -> tuple[Tensor, Tensor]:
    """Factors (g, n, 5) and (g, 5, n) of the exponents -d^2 / 2 w^2 of the widest kernel."""
    points = points / WIDTHS[0]
    half = points.square().sum(2, keepdim=True) / 2
    one = torch.ones_like(half)
    left = torch.cat([points, -half, -one], dim=2)
    return left, torch.cat([points, one, half], dim=2).mT


def _features(sums: Tensor, here: Tensor, own: Tensor, count: Tensor) -> Tensor:
    """(g, r, widths, 8) sums, (g, r, 3) points, (g, r, 8) own sources, (g, 1) to (g, r, fields)."""
    eta_i, u_i, v_i = (one[..., None] for one in here.unbind(-1))
    widths = sums.new_tensor(WIDTHS)
    expected = (count - 1).clamp(min=0)[..., None] * widths**2 / ETA_RANGE
    walk = (expected + 1).sqrt()
    parts = []
    for n, eta, u, v in (one.unbind(-1) for one in (sums - own[:, :, None]).chunk(2, dim=-1)):
        parts += [
            (n - expected) / walk,
            (eta - eta_i * n) / (walk * widths),
            (u_i * v - v_i * u) / (walk * widths),
        ]
    # A jet at the centre of its own cone is far out in these units: bend the tail.
    return torch.asinh(torch.cat(parts, dim=-1) / math.pi) * math.pi
