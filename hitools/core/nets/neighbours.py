"""The K nearest neighbours of each particle among the particles of its own event.

Events of similar length are searched together, and distances are worked out a tile of rows at a
time, so that memory grows with the number of particles and not with its square.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from hitools.core.nets.layout import Layout

TILE_ELEMENTS = {"cpu": 1 << 18}
DEFAULT_TILE_ELEMENTS = 1 << 25
"""Distances held at once; on the CPU they stay in the second-level cache."""

LENGTH_RATIO = {"cpu": 1.0}
DEFAULT_LENGTH_RATIO = 1.2
"""Longest over shortest event searched together. A GPU pads to spare kernels, the CPU does not.

With 1.2 some 6 to 8% of the slots of O-O events are padding, with 1.5 it was 15 to 18%. It is the
only padding anywhere: all else runs on packed particles.
"""

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
        for starts, counts in similar_events(layout, device.type):
            length = max(counts)
            first, count = torch.tensor([starts, counts], device=device)[:, :, None]
            own = torch.arange(length, device=device)
            real = own < count
            rows = torch.where(real, first + own, len(points))
            event = points[torch.where(real, rows, first)].float()
            step = max(1, TILE_ELEMENTS.get(device.type, DEFAULT_TILE_ELEMENTS) // real.numel())
            for tile in (slice(i, i + step) for i in range(0, length, step)):
                distances = squared_distances(event[:, tile], event)
                distances.masked_fill_(~real[:, None], torch.inf)
                distances.masked_fill_(own[tile, None] == own, torch.inf)
                wanted = min(k, length - 1)
                nearest = distances.topk(wanted, dim=2, largest=False).indices + first[..., None]
                counts_here = place[:wanted] < count[..., None] - 1
                here = rows[:, tile, None]
                indices[rows[:, tile], :wanted] = torch.where(counts_here, nearest, here)
    return indices[:-1], n_found


def similar_events(layout: Layout, device: str) -> Iterator[tuple[list[int], list[int]]]:
    """First rows and lengths of events to search together; those of one particle are left out."""
    largest = TILE_ELEMENTS.get(device, DEFAULT_TILE_ELEMENTS)
    ratio = LENGTH_RATIO.get(device, DEFAULT_LENGTH_RATIO)
    starts: list[int] = []
    counts: list[int] = []
    by_length = sorted(zip(layout.counts, layout.starts, strict=True))
    for count, start in by_length:
        if count < 2:
            continue
        too_large = (len(counts) + 1) * count**2 > largest
        if counts and (too_large or count > ratio * counts[0]):
            yield starts, counts
            starts, counts = [], []
        starts.append(start)
        counts.append(count)
    if counts:
        yield starts, counts


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
