"""Kept results of commands: used again while nothing about them changed, and only then."""

import importlib.util
import shutil
import time
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "steps.py"


@pytest.fixture(scope="module")
def module():
    spec = importlib.util.spec_from_file_location("steps", PATH)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def copy(module, tmp_path, capsys):
    """Copy events by hi-cat, as a step; returns whether the command ran."""
    (tmp_path / "in.h5").symlink_to(Path(__file__).parents[1] / "data" / "oo.h5")

    def run(n_events=3):
        steps = module.Steps(tmp_path)
        words = ["hi-cat", "in.h5", "--head", str(n_events), "-o", "out.h5", "--no-provenance"]
        steps.run("copy", words, [tmp_path / "in.h5"], ["out.h5"])
        assert steps.commands == [" ".join(words)]
        return "$ hi-cat" in capsys.readouterr().err

    return run


def test_a_step_runs_once_and_again_when_anything_changed(copy, tmp_path, oo_path):
    assert copy()
    assert not copy()
    assert copy(4)
    (tmp_path / "out.h5").write_bytes(b"somebody else's")
    assert copy(4)
    (tmp_path / "out.h5").unlink()
    assert copy(4)
    (tmp_path / "in.h5").unlink()
    shutil.copy(tmp_path / "out.h5", tmp_path / "in.h5")
    assert copy(4)
    assert not copy(4)


def test_a_failure_is_the_last_words_of_the_command_and_is_not_kept(copy, module, tmp_path):
    steps = module.Steps(tmp_path)
    for _ in range(2):
        with pytest.raises(module.StepError, match=r"nowhere\.h5"):
            steps.run("bad", ["hi-cat", "nowhere.h5", "-o", "out.h5"], [], ["out.h5"])


def test_no_command_outlives_its_time(module, tmp_path):
    steps = module.Steps(tmp_path, time.monotonic() + 2)
    words = ["python", "-c", "import time; time.sleep(60)"]
    with pytest.raises(module.OutOfTimeError, match="the time was over"):
        steps.run("slow", words, [], [])
    with pytest.raises(module.OutOfTimeError, match="no time was left"):
        steps.run("slow", words, [], [])
