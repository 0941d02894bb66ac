"""Sampling, training and classifiers keep to the device that they are given."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, float]]:
    """What checks.py printed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.other_device.checks"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.xdist_group("other_device")
def test_the_other_device_refuses_what_cuda_refuses(found):
    for name, is_refused in found["refused"].items():
        assert is_refused == (not name.startswith("fine")), name


@pytest.mark.xdist_group("other_device")
@pytest.mark.parametrize(
    "work",
    [
        "sampling",
        "training, paper",
        "training, rotary",
        "classifier, event",
        "classifier, deepsets",
        "classifier, transformer",
    ],
)
def test_another_device_gives_what_the_cpu_gives(found, work):
    """To rounding, which a training multiplies; all of it runs there, or would be refused."""
    assert found["differences"][work] < 1e-3
