import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hitools.core.nets.config import NetConfig
from hitools.core.nets.model import Denoiser
from tests.core.nets.support import random_events

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "memory.py"


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements of any tensor that an operation returns."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, Tensor):
                self.elements = max(self.elements, value.untyped_storage().size() // 4)
        return result


def test_no_tensor_of_a_training_step_grows_with_the_square_of_the_multiplicity():
    model = Denoiser(NetConfig(n_blocks=1, n_head_blocks=1))
    n = 3000
    with LargestTensor() as seen:
        model.particle_velocity(*random_events([n])).square().sum().backward()
    assert seen.elements <= max(384 * n, 1 << 20) < n**2 / 7


def test_peak_memory_of_a_training_step_grows_linearly():
    result = subprocess.run(
        [sys.executable, str(BENCHMARK), "--json", "1000", "2000", "3000"],
        capture_output=True,
        check=True,
        timeout=300,
    )
    rows = json.loads(result.stdout)
    assert [row["n_particles"] for row in rows] == [1000, 2000, 3000]
    small, medium, large = (row["peak_mib"] for row in rows)
    # The cost of one more particle stays what it was.
    assert large - medium == pytest.approx(medium - small, rel=0.25)
