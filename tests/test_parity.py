"""Parity with the original implementation, and with our own numbers once parity was shown."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from hitools.core.nets.model import Denoiser

HERE = Path(__file__).parent
EXTRACT = HERE / "data" / "pet_extract.npz"
"""Made by `python -m tests.test_parity` from the network of `fixed_network`."""

COUNTS = (1, 6, 12, 29)


def reference_file() -> Path | None:
    """The reference numbers, where this checkout lies next to them."""
    beside = HERE.parents[1] / "shared" / "golden" / "pet.npz"
    path = Path(os.environ.get("HITOOLS_PARITY_FILE", beside))
    return path if path.exists() else None


def run_parity(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(HERE / "parity.py"), str(path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def fixed_network() -> dict[str, np.ndarray]:
    """Outputs of the paper's network with weights from a fixed stream of numbers."""
    stream = np.random.Generator(np.random.PCG64(20_24))

    def uniform(*shape: int, low: float = -1, high: float = 1) -> torch.Tensor:
        values = low + (high - low) * stream.random(shape)
        return torch.from_numpy(values.astype(np.float32))

    model = Denoiser()
    with torch.no_grad():
        for name, weights in sorted(model.named_parameters()):
            if name.endswith("scale.weight") or "norm.weight" in name:
                weights.copy_(uniform(*weights.shape, low=0.5, high=1.5))
            else:
                fan_in = weights.shape[-1]
                weights.copy_(uniform(*weights.shape) * (3 / fan_in) ** 0.5)
        n = sum(COUNTS)
        x, events = 1.7 * uniform(n, 6), 1.7 * uniform(len(COUNTS), 11)
        t = torch.tensor([0.2, 0.9, 0.6, 0.03])
        offsets = torch.tensor([0, *np.cumsum(COUNTS).tolist()])
        return {
            "particles": model.particle_velocity(x, t, events, offsets).numpy(),
            "events": model.event_velocity(events, t).numpy(),
        }


def relative_error(ours: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(ours - reference) / np.linalg.norm(reference))


def test_the_network_still_gives_the_numbers_it_gave_when_parity_was_shown():
    ours = fixed_network()
    with np.load(EXTRACT, allow_pickle=False) as extract:
        for name, values in ours.items():
            assert relative_error(values, extract[name]) <= 1e-5, name


def test_every_part_agrees_with_the_original_implementation():
    reference = reference_file()
    if reference is None:
        test_the_network_still_gives_the_numbers_it_gave_when_parity_was_shown()
        return
    result = run_parity(reference)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "head_out" in result.stdout
    assert "sampler_part" in result.stdout


def test_a_number_above_its_limit_ends_with_status_1(tmp_path: Path):
    reference = reference_file()
    if reference is None:
        test_the_network_still_gives_the_numbers_it_gave_when_parity_was_shown()
        return
    with np.load(reference, allow_pickle=False) as file:
        numbers = {key: file[key] for key in file.files}
    numbers["event_out"] = numbers["event_out"] * np.float32(1.001)
    np.savez(tmp_path / "wrong.npz", **numbers)
    result = run_parity(tmp_path / "wrong.npz")
    assert result.returncode == 1
    above = [line for line in result.stdout.splitlines() if "ABOVE" in line]
    assert len(above) == 1
    assert above[0].startswith("event_out ")


if __name__ == "__main__":
    np.savez(EXTRACT, **fixed_network())
