"""The K nearest neighbours of each particle among the particles of its own event.

Distances are worked out a tile of rows at a time, so that memory grows with the number of
particles and not with its square.
"""

import torch
from torch import Tensor

from hitools.core.nets.layout import Layout

TILE_ELEMENTS = 1 << 20
"""Distances held at once."""

DIRECT_DIMENSIONS = 3
"""Up to here distances come from differences; beyond, from a matrix product."""


def squared_distances(rows: Tensor, points: Tensor) -> Tensor:
    """(n_rows, d) and (n, d) to (n_rows, n), up to a constant per row that ranking ignores."""
    if points.shape[1] <= DIRECT_DIMENSIONS:
        return (rows[:, None] - points[None]).square().sum(-1)
    return torch.addmm((points * points).sum(1)[None, :], rows, points.T, alpha=-2)


@torch.no_grad()
def nearest_neighbours(points: Tensor, layout: Layout, k: int) -> tuple[Tensor, Tensor]:
    """Indices of each particle's nearest neighbours, itself excluded.

    Args:
        points: (n_total, d) coordinates.
        layout: which rows form an event.
        k: neighbours wanted.

    Returns:
        indices: (n_total, k) int64 rows of points. Where the event has fewer than k other
            particles, the places left over hold the particle itself.
        n_found: (n_total,) int64 neighbours that count, at least 1: a particle alone in its
            event is its own neighbour.
    """
    n_total = len(points)
    own = torch.arange(n_total, device=points.device)
    indices = own[:, None].expand(n_total, k).clone()
    # Distances decide which particles are connected: they stay in float32 under autocast.
    with torch.autocast(points.device.type, enabled=False):
        points = points.float()
        for start, count in zip(layout.starts, layout.counts, strict=True):
            found = min(k, count - 1)
            if found < 1:
                continue
            event = points[start : start + count]
            event = event - event.mean(0)
            step = max(1, TILE_ELEMENTS // count)
            for first in range(0, count, step):
                rows = event[first : first + step]
                distances = squared_distances(rows, event)
                diagonal = torch.arange(len(rows), device=points.device)
                distances[diagonal, diagonal + first] = torch.inf
                nearest = distances.topk(found, dim=1, largest=False, sorted=False).indices
                indices[start + first : start + first + len(rows), :found] = nearest + start
    n_found = layout.spread((layout.n_particles - 1).clamp(min=1, max=k))
    return indices, n_found
