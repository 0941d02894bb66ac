"""The Makefiles of models: their lines are commands as they are, in an order that works."""

import shlex
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

CASES = {
    "shipped": (("scorecard", "paper"), {"oo-5360", "paper", "scorecard", "scorecard-paper"}, 12),
    "pbpb": (("report",), {"pbpb", "closure.json", "report"}, 2),
}
"""Targets of each, what they leave among others, and how many trainings that takes."""

FROM_THE_PACKAGE = {"shipped": (), "pbpb": ("oo-5360",)}
"""Models that are there before."""


@pytest.fixture(scope="module", params=CASES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def lines(name, tmp_path_factory):
    """What make would run for all targets where nothing is there yet, word by word."""
    empty = tmp_path_factory.mktemp("empty")
    makefile = EXAMPLES / name / "Makefile"
    words = ["make", "-n", "--no-print-directory", "-f", str(makefile), *CASES[name][0]]
    result = subprocess.run(words, cwd=empty, capture_output=True, text=True, check=True)
    return [shlex.split(line) for line in result.stdout.replace("\\\n", " ").splitlines()]


def test_each_line_is_understood_by_its_command(name, lines):
    commands = [line for line in lines if line[0].startswith("hi-")]
    assert [line[0] for line in commands].count("hi-train") == CASES[name][2]
    for command, *words in commands:
        main = import_module(f"hitools.cmd.{command.removeprefix('hi-')}").main
        main.make_context(command, words)  # raises for an option or a value that it does not have


def test_each_file_is_made_before_it_is_read_and_once(name, lines):
    made = list(FROM_THE_PACKAGE[name])
    for line in lines:
        if line[0] == "touch":
            continue
        written = [line[k + 1] for k, word in enumerate(line) if word == "-o"]
        written += [word.removeprefix("--json=") for word in line if word.startswith("--json=")]
        read = [word.removeprefix("./") for word in line[1:] if word.endswith(".h5")]
        read += [line[k + 1].removeprefix("./") for k, word in enumerate(line) if word == "--init"]
        read += [line[k + 1].removeprefix("./") for k, word in enumerate(line) if word == "-m"]
        (target,) = written
        assert set(read) - {target} <= set(made), line
        assert target not in made
        made.append(target)
    assert CASES[name][1] <= set(made)
