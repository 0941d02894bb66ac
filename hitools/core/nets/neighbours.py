"""The K nearest neighbours of each particle among the particles of its own event.

Events of similar length are searched together, and distances are worked out a tile of rows at a
time, so that memory grows with the number of particles and not with its square.
"""

import torch
from torch import Tensor

from hitools.core.nets.layout import Layout
from hitools.core.nets.stacks import stacks

DIRECT_DIMENSIONS = 3
"""Up to here distances come from differences; beyond, from a matrix product."""


@torch.no_grad()
def nearest_neighbours(points: Tensor, layout: Layout, k: int) -> tuple[Tensor, Tensor]:
    """Indices of each particle's nearest neighbours, itself excluded.

    Args:
        points: (n_total, d) coordinates.
        layout: which rows form an event.
        k: neighbours wanted.

    Returns:
        indices: (n_total, k) int64 rows of points, nearest first. Where the event has fewer than
            k other particles, the places left over hold the particle itself.
        n_found: (n_total,) int64 neighbours that count, at least 1: a particle alone in its
            event is its own neighbour.
    """
    device = points.device
    n_found = layout.spread((layout.n_particles - 1).clamp(min=1, max=k))
    # One row more than particles: results of padding go there.
    indices = torch.arange(len(points) + 1, device=device)[:, None].repeat(1, k)
    place = torch.arange(k, device=device)
    # Distances decide which particles are connected: they stay in float32 under autocast.
    with torch.autocast(device.type, enabled=False):
        for stack in stacks(layout, device):
            own = torch.arange(stack.real.shape[1], device=device)
            event = points[stack.rows].float()
            for tile in stack.tiles():
                distances = squared_distances(event[:, tile], event)
                distances.masked_fill_(~stack.real[:, None], torch.inf)
                distances.masked_fill_(own[tile, None] == own, torch.inf)
                wanted = min(k, len(own) - 1)
                nearest = distances.topk(wanted, dim=2, largest=False).indices
                nearest += stack.rows[:, :1, None]
                counts_here = place[:wanted] < stack.count[..., None] - 1
                here = stack.targets[:, tile]
                indices[here, :wanted] = torch.where(counts_here, nearest, here[..., None])
    return indices[:-1], n_found


def squared_distances(rows: Tensor, points: Tensor) -> Tensor:
    """(g, r, d) and (g, n, d) to (g, r, n), up to a constant per row that ranking ignores."""
    if points.shape[2] <= DIRECT_DIMENSIONS:
        distances = (rows[:, :, None, 0] - points[:, None, :, 0]).square_()
        for axis in range(1, points.shape[2]):
            distances += (rows[:, :, None, axis] - points[:, None, :, axis]).square_()
        return distances
    origin = points[:, :1]  # only differences matter: stay near zero, where float32 is fine
    rows, points = rows - origin, points - origin
    lengths = points.square().sum(2)[:, None]
    return torch.baddbmm(lengths, rows, points.transpose(1, 2), alpha=-2)
