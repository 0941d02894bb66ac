import torch

from hitools.core.nets.layout import Layout
from tests.core.nets.support import offsets_of

COUNTS = [0, 3, 3, 1, 0, 5, 0]


def test_means_and_spreading_follow_the_offsets():
    layout = Layout.from_offsets(offsets_of(COUNTS), torch.device("cpu"))
    values = torch.arange(12, dtype=torch.float32) ** 2
    expected = [part.mean() if len(part) else torch.tensor(0.0) for part in values.split(COUNTS)]
    assert torch.equal(layout.mean(values), torch.stack(expected))
    assert layout.spread(torch.arange(7)).tolist() == [1, 1, 1, 2, 2, 2, 3, 5, 5, 5, 5, 5]


def test_runs_and_filled_offsets():
    layout = Layout.from_offsets(offsets_of(COUNTS), torch.device("cpu"))
    assert layout.runs == ((1, 0), (2, 3), (1, 1), (1, 0), (1, 5), (1, 0))
    assert layout.filled_offsets.tolist() == [0, 3, 6, 7, 12]
    assert layout.starts == (0, 0, 3, 6, 7, 7, 12)
    assert layout.longest == 5


def test_each_particle_meets_the_matrix_of_its_event():
    layout = Layout.from_offsets(offsets_of(COUNTS), torch.device("cpu"))
    generator = torch.Generator().manual_seed(1)
    rows, matrices = (torch.randn(n, 4, generator=generator) for n in (12, 28))
    found = layout.times(rows, matrices.view(7, 4, 4)[:, :, :3])
    event_of_particle = [k for k, count in enumerate(COUNTS) for _ in range(count)]
    expected = [
        row @ matrices[4 * k : 4 * k + 4, :3]
        for row, k in zip(rows, event_of_particle, strict=True)
    ]
    torch.testing.assert_close(found, torch.stack(expected))


def test_a_mean_over_many_particles_keeps_float32_precision():
    values = torch.full((300_000,), 0.1)
    layout = Layout.from_offsets(torch.tensor([0, 300_000]), torch.device("cpu"))
    assert layout.mean(values).item() == values[0].item()


def test_no_events_at_all_is_a_layout_too():
    layout = Layout.from_offsets(torch.tensor([0]), torch.device("cpu"))
    assert layout.mean(torch.zeros(0)).shape == (0,)
    assert layout.longest == 0
    assert layout.times(torch.zeros(0, 2), torch.zeros(0, 2, 3)).shape == (0, 3)
