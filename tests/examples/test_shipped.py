"""The command that makes shipped models, with a small budget: killed on the way, and to its end."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import SCRIPTS

pytestmark = pytest.mark.xdist_group("shipped")
"""The model below takes minutes: one worker makes it, once."""

ROOT = Path(__file__).parents[2]
MAKE = ["bash", str(ROOT / "examples/shipped/make.sh")]
TINY = ("width=8", "n_heads=2", "n_blocks=1", "n_head_blocks=1", "n_neighbours=3")
FILES = {"config.json", "model.safetensors", "metrics.jsonl", "README.md"}


def start(folder, *words):
    return subprocess.Popen(
        [*MAKE, *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHON": str(SCRIPTS / "python"), "PATH": f"{SCRIPTS}:/usr/bin:/bin"},
        start_new_session=True,
        text=True,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model made in two minutes and a half, killed once in its first training.

    Begun with far too few minutes. Where a busy machine has no model in time, or has not measured
    everything, the same command with more minutes goes on, too.
    """
    folder = tmp_path_factory.mktemp("shipped")
    (folder / "notes.md").write_text("It is a toy.\n")
    more = ["--preset", "quick", "--notes", "notes.md", "--"]
    more += [word for size in TINY for word in ("--net", size)]
    work = folder / "out-work" / "oo-toy"

    def once(minutes, *, kill=False):
        """Run it, and kill it in its first training on request; status and errors."""
        words = ["--minutes", str(minutes), "--output", "out", "--name", "oo-toy", *more]
        with start(folder, *words) as process:
            while kill and process.poll() is None:
                if (work / "stage-1" / "config.json").exists():
                    os.killpg(process.pid, signal.SIGKILL)
                    break
                time.sleep(0.2)
            _, errors = process.communicate(timeout=900)
        return process.returncode, errors

    status, errors = once(0.3)
    assert (status, errors.count("more --minutes")) == (2, 1), errors
    assert "Traceback" not in errors
    too_early = 1
    minutes = 2.5
    seconds = []
    for more_minutes, expected in ((0, -signal.SIGKILL), (0, 0), (2.4, 0)):
        minutes += more_minutes
        status, errors = once(minutes, kill=expected != 0)
        while status == 2 and "more --minutes" in errors and minutes < 20:
            too_early += 1
            minutes *= 2
            status, errors = once(minutes, kill=expected != 0)
        assert status == expected, errors
        while more_minutes and not (folder / "out" / "report").exists() and minutes < 20:
            minutes += 2.4
            status, errors = once(minutes)
            assert status == 0, errors
        seconds.append(json.loads((work / "progress.json").read_text())["seconds"])
    return folder, minutes, seconds, too_early


def test_the_output_is_a_model_with_card_scorecard_and_report(made):
    folder, *_ = made
    out = folder / "out"
    assert {path.name for path in (out / "oo-toy").iterdir()} == FILES
    assert {path.name for path in out.iterdir()} == {
        *("oo-toy", "report", "scorecard.json", "scorecard.md", "log.txt"),
    }
    assert (out / "report" / "report.html").exists()
    assert max(path.stat().st_size for path in out.rglob("*") if path.is_file()) < 16_000_000
    rows = {
        row["name"]: row
        for row in json.loads((out / "scorecard.json").read_text())["models"][0]["rows"]
    }
    for name in ("w1.part", "q.correlation.x", "resolution", "cpu", "evaluations", "auc.event"):
        assert rows[name]["reached"] != "not measured", name
    assert rows["evaluations"]["value"] == 16
    card = (out / "oo-toy" / "README.md").read_text()
    assert "--output out --name oo-toy --preset quick" in card
    assert "holds none of the events that oo-toy was trained and tuned on" in card
    assert "It is a toy." in card
    assert str(folder) not in card + (out / "oo-toy" / "config.json").read_text()


def test_a_killed_run_goes_on_and_time_is_counted_over_all_starts(made):
    folder, minutes, (first, second, third), too_early = made
    assert first < second < third < 60 * minutes + 60
    log = (folder / "out/log.txt").read_text()
    assert log.count(" -o first.h5") == 1
    assert 1 <= log.count("1000000000") <= 1 + too_early  # the speed was measured once
    events = json.loads((folder / "out-work/events.json").read_text())
    assert events["stage-2 files"][0] == "first.h5"
    assert set(events["stage-2 files"]) <= set(events["training files"])


def test_a_finished_model_is_not_made_again(made):
    folder, minutes, *_ = made
    before = (folder / "out/log.txt").read_text().count("hi-train")
    words = ["--minutes", str(minutes), "--output", "out", "--name", "oo-toy", "--preset", "quick"]
    again = start(folder, *words)
    _, errors = again.communicate(timeout=600)
    assert again.returncode == 0, errors
    assert (folder / "out/log.txt").read_text().count("hi-train") == before


def test_no_time_to_evaluate_is_said_and_loses_nothing(made, tmp_path):
    """As on a busy machine, whose training took the time of the evaluation."""
    folder, minutes, *_ = made
    shutil.copytree(folder, tmp_path / "copy")
    record = tmp_path / "copy/out-work/oo-toy/progress.json"
    minutes += 0.01  # else as many events are sampled as it decided for these minutes
    record.write_text(json.dumps(json.loads(record.read_text()) | {"seconds": 60 * minutes}))
    weights = (folder / "out/oo-toy/model.safetensors").read_bytes()
    words = ["--minutes", str(minutes), "--output", "out", "--name", "oo-toy", "--preset", "quick"]
    again = start(tmp_path / "copy", *words)
    _, errors = again.communicate(timeout=600)
    assert again.returncode == 2, errors
    assert errors.count("make.sh: no time to evaluate oo-toy: more --minutes") == 1
    assert "Traceback" not in errors
    assert (tmp_path / "copy/out/oo-toy/model.safetensors").read_bytes() == weights


def test_bad_usage_is_status_2(tmp_path):
    for words, message in [
        (["--output", "out"], "--minutes"),
        (["--minutes", "0", "--output", "out"], "more than 0"),
        (["--minutes", "1"], "--output"),
        (["--minutes", "1", "--output", "out", "--wheels"], "--wheels"),
    ]:
        process = start(tmp_path, *words)
        _, errors = process.communicate(timeout=120)
        assert process.returncode != 0
        assert message in errors
        assert "Traceback" not in errors
