"""The Makefile of the shipped model: its lines are commands as they are, in an order that works."""

import shlex
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "shipped"


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """What make would run for both targets where nothing is there yet, word by word."""
    empty = tmp_path_factory.mktemp("empty")
    words = [
        "make",
        "-n",
        "--no-print-directory",
        "-f",
        str(FOLDER / "Makefile"),
        "scorecard",
        "paper",
    ]
    result = subprocess.run(words, cwd=empty, capture_output=True, text=True, check=True)
    return [shlex.split(line) for line in result.stdout.replace("\\\n", " ").splitlines()]


def test_each_line_is_understood_by_its_command(lines):
    commands = [line for line in lines if line[0].startswith("hi-")]
    assert [line[0] for line in commands].count("hi-train") == 12
    for name, *words in commands:
        main = import_module(f"hitools.cmd.{name.removeprefix('hi-')}").main
        main.make_context(name, words)  # raises for an option or a value that it does not have


def test_each_file_is_made_before_it_is_read_and_once(lines):
    made = []
    for line in lines:
        if line[0] == "touch":
            continue
        target = line[line.index("-o") + 1]
        read = [word.removeprefix("./") for word in line[1:] if word.endswith(".h5")]
        read += [line[k + 1] for k, word in enumerate(line) if word == "--init"]
        read += [line[k + 1].removeprefix("./") for k, word in enumerate(line) if word == "-m"]
        assert set(read) - {target} <= set(made), line
        assert target not in made
        made.append(target)
    assert {"oo-5360", "paper", "scorecard", "scorecard-paper"} <= set(made)
