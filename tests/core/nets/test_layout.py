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


def test_runs_and_filled_offsets_leave_out_empty_events():
    layout = Layout.from_offsets(offsets_of(COUNTS), torch.device("cpu"))
    assert layout.runs == ((2, 3), (1, 1), (1, 5))
    assert layout.filled_offsets.tolist() == [0, 3, 6, 7, 12]
    assert layout.starts == (0, 0, 3, 6, 7, 7, 12)
    assert layout.longest == 5


def test_a_mean_over_many_particles_keeps_float32_precision():
    values = torch.full((300_000,), 0.1)
    layout = Layout.from_offsets(torch.tensor([0, 300_000]), torch.device("cpu"))
    assert layout.mean(values).item() == values[0].item()


def test_no_events_at_all_is_a_layout_too():
    layout = Layout.from_offsets(torch.tensor([0]), torch.device("cpu"))
    assert layout.mean(torch.zeros(0)).shape == (0,)
    assert layout.longest == 0
