"""Particles moved by as little as makes them add up to what is known of their event.

A few steps of a solver end near the known sums, not at them, and what they miss is not noise: the
sums of slices that lie apart come out too much in step. The regression that the network leans on
says how the particles of an event would move together if they were known up to a small spread.
That move is smooth in eta, phi and pT, so that what is close stays close.
"""

from typing import Final

import torch
from torch import Tensor

from hitools.core.nets.layout import Layout
from hitools.core.nets.regression import Regression
from hitools.core.representation.aligned import CIRCLE, Aligned, is_hard
from hitools.core.representation.event_scores import turn_of

SPREAD: Final = 0.1
"""Of normal scores, and on the circle: small beside what a slice of eta spans, and large beside
the regression's ridge."""


@torch.no_grad()
def moved_to_sums(representation: Aligned, x: Tensor, given: Tensor, layout: Layout) -> Tensor:
    """Particles after one step towards the sums of their event: a Gauss-Newton step.

    Hard particles stay where they are. The sum of azimuths in the laboratory is left out: where the
    angle has its seam, a particle that crosses it would count for many that do not.

    Args:
        representation: defines the sums.
        x: (n_total, 4 or 5) particles in model space.
        given: (n_events, features) scores of event vectors and slices.
        layout: which particles form an event.

    Returns:
        (n_total, 4 or 5).
    """
    psi = layout.spread(turn_of(given))
    added = representation.contributions(x, psi)
    of_hard = representation.hard_sums(x, given, layout.event_of_particle)
    totals = representation.totals(given, layout.n_particles, of_hard)
    missing = totals.index_add(0, layout.event_of_particle, added, alpha=-1)
    missing[:, -1] = 0
    noise = x.new_tensor(SPREAD)
    signal = (1 - noise.square()).sqrt()
    # Noised values whose most likely places are those of the particles.
    noised = torch.cat([x[:, :2] / signal, x[:, 2:4] * signal, x[:, 4:]], dim=1)
    soft = (~is_hard(x))[:, None]
    seen = torch.where(soft, noised, x)
    shift = Regression(representation, seen, psi, signal, noise, layout).shift(missing) * soft
    phi = torch.atan2(x[:, 3], x[:, 2]) + torch.atan(shift[:, 3] / CIRCLE)
    radius = x[:, 2:4].norm(dim=1)
    return torch.cat(
        [x[:, :2] + shift[:, :2], (radius * torch.stack([phi.cos(), phi.sin()])).T, x[:, 4:]], dim=1
    )
