"""What many tests share: the installed commands, and real Angantyr O-O events."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hitools.core.batch import EventBatch
from hitools.core.format.reader import open_events

# As the commands do (cmd/common.py), for the tests that use torch in this process.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

DATA = Path(__file__).parent / "data"
SCRIPTS = Path(sys.executable).parent

Run = Callable[..., subprocess.CompletedProcess[bytes]]


def script(name: str) -> str:
    """Path of an installed console script."""
    return str(SCRIPTS / name)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Torch draws the same in a test whichever tests ran before it in this process."""
    torch.manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers of one test, the same whichever tests ran before it in this process."""
    return np.random.default_rng(11)


@pytest.fixture(scope="session")
def oo_path() -> Path:
    """120 real O-O events at 5.36 TeV, made by hi-mc, as an event file."""
    return DATA / "oo.h5"


@pytest.fixture(scope="session")
def oo(oo_path: Path) -> EventBatch:
    """The same in memory."""
    return read_all(oo_path)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run an installed command in a scratch folder; output is captured as bytes."""

    def call(
        name: str, *arguments: object, stdin: bytes | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [script(name), *map(str, arguments)],
            input=b"" if stdin is None else stdin,
            capture_output=True,
            cwd=tmp_path,
            timeout=timeout,
            check=False,
        )

    return call


@pytest.fixture
def pipe(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[bytes]]:
    """Run a shell pipeline of installed commands, each reached by its bare name."""

    def call(line: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", f'PATH="{SCRIPTS}:$PATH"; {line}'],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            cwd=tmp_path,
            timeout=300,
            check=False,
        )

    return call


def read_all(path: Path) -> EventBatch:
    """All events of a file."""
    with open_events(path) as events:
        return EventBatch.concatenate(list(events))


def assert_one_line_error(result: subprocess.CompletedProcess[bytes], *words: str) -> None:
    """Exit status 2, nothing on stdout, one line on stderr that holds these words."""
    message = result.stderr.decode()
    assert result.returncode == 2, message
    assert result.stdout == b""
    assert message.count("\n") == 1, message
    for word in words:
        assert word in message
