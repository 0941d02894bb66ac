import numpy as np
import pytest
import torch

from hitools.core.batch import EventBatch
from hitools.core.nets import stacks
from hitools.core.nets.layout import Layout
from hitools.core.nets.neighbours import nearest_neighbours
from tests.core.nets.support import offsets_of

K = 10


def brute_force(points: np.ndarray, counts: list[int], k: int) -> list[set[int]]:
    """Neighbours by sorting all distances in float64."""
    found, start = [], 0
    for count in counts:
        event = points[start : start + count].astype(np.float64)
        for i in range(count):
            distances = np.linalg.norm(event - event[i], axis=1)
            distances[i] = np.inf
            nearest = np.argsort(distances)[: min(k, count - 1)]
            found.append({int(j) + start for j in nearest} or {start + i})
        start += count
    return found


def search(points: torch.Tensor, counts: list[int], k: int = K) -> list[set[int]]:
    layout = Layout.from_offsets(offsets_of(counts), torch.device("cpu"))
    indices, n_found = nearest_neighbours(points, layout, k)
    return [set(row[:n].tolist()) for row, n in zip(indices, n_found.tolist(), strict=True)]


@pytest.mark.parametrize("dimensions", [2, 3, 128])
def test_neighbours_are_those_of_a_full_sort(dimensions):
    counts = [25, 1, 0, 190, 2, 190, 11, 10, 33]
    points = torch.randn(sum(counts), dimensions, generator=torch.Generator().manual_seed(3))
    assert search(points, counts) == brute_force(points.numpy(), counts, K)


def test_neighbours_far_from_the_origin_are_found_as_well():
    points = torch.randn(300, 16, generator=torch.Generator().manual_seed(1))
    assert search(points + 100, [300]) == brute_force((points + 100).numpy(), [300], K)


@pytest.mark.parametrize("tile", [1, 1000, 10**9])
@pytest.mark.parametrize("ratio", [1.0, 1.5, 1e9])
def test_tiles_and_padding_change_nothing(monkeypatch, tile, ratio):
    counts = [5, 1, 40, 0, 41, 55, 2, 12]
    points = torch.randn(sum(counts), 6, generator=torch.Generator().manual_seed(2))
    expected = search(points, counts)
    monkeypatch.setitem(stacks.TILE_ELEMENTS, "cpu", tile)
    monkeypatch.setitem(stacks.LENGTH_RATIO, "cpu", ratio)
    assert search(points, counts) == expected


def test_missing_neighbours_are_the_particle_itself_and_do_not_count():
    layout = Layout.from_offsets(torch.tensor([0, 3, 4]), torch.device("cpu"))
    indices, n_found = nearest_neighbours(torch.tensor([[0.0], [1.0], [3.0], [9.0]]), layout, 4)
    assert indices.tolist() == [[1, 2, 0, 0], [0, 2, 1, 1], [1, 0, 2, 2], [3, 3, 3, 3]]
    assert n_found.tolist() == [2, 2, 2, 1]


def test_particles_on_one_spot_are_neighbours_of_each_other():
    layout = Layout.from_offsets(torch.tensor([0, 3]), torch.device("cpu"))
    indices, _ = nearest_neighbours(torch.ones(3, 2), layout, 2)
    assert [set(row) for row in indices.tolist()] == [{1, 2}, {0, 2}, {0, 1}]


@pytest.mark.parametrize("n_events", [16, 64, 120])
def test_a_gpu_searches_real_events_with_less_than_a_tenth_of_padding(oo: EventBatch, n_events):
    """The only padded slots anywhere; on the CPU there are none."""
    counts = np.sort(oo.n_particles[:n_events])[::-1]
    offsets = offsets_of([int(count) for count in counts])
    layout = Layout.from_offsets(offsets, torch.device("cpu"))
    shares = {}
    for device in ("cpu", "cuda"):
        groups = [[layout.counts[k] for k in one] for one in stacks.similar_events(layout, device)]
        slots = sum(len(group) * max(group) for group in groups)
        shares[device] = 1 - sum(sum(group) for group in groups) / slots
    assert shares["cpu"] == 0
    assert shares["cuda"] < 0.1
