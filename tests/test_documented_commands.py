"""What README, pages, man pages and model cards tell users to type is what the commands take."""

import importlib
import importlib.metadata
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "man").glob("*.1")),
    *sorted((ROOT / "hitools" / "models").glob("*/README.md")),
    *sorted((ROOT / "examples").rglob("*.sbatch")),
]
ENTRIES = {
    entry.name: entry.value
    for entry in importlib.metadata.entry_points(group="console_scripts")
    if entry.value.startswith("hitools.")
}
OF_THEN = re.compile(r"\bcommit [0-9a-f]{7}")
"""A command of a commit long ago, which had other options."""


def lines_of(path: Path) -> Iterator[str]:
    """Lines of code, and what stands in backquotes elsewhere."""
    text = path.read_text().replace("\\\n", " ")
    if path.suffix == ".sbatch":
        yield from text.splitlines()
    elif path.suffix == ".1":
        for block in re.findall(r"^\.nf\n(.*?)^\.fi", text, flags=re.MULTILINE | re.DOTALL):
            yield from (
                block.replace("\\-", "-").replace("\\&", "").replace("\\e", "\\").splitlines()
            )
    else:
        parts = re.split(r"^```.*\n", text, flags=re.MULTILINE)
        for number, part in enumerate(parts):
            if number % 2:
                yield from part.splitlines()
                continue
            for line in part.splitlines():
                if not OF_THEN.search(line):
                    yield from re.findall(r"`([^`]+)`", line)


def commands_in(line: str) -> Iterator[list[str]]:
    """Words of each command of ours in a line of shell."""
    words = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|&;()<>")
    words.whitespace_split = True
    try:
        found = list(words)
    except ValueError:  # prose with an apostrophe
        return
    call: list[str] | None = None
    skip = False
    for word in [*found, ";"]:
        if set(word) <= set("|&;()"):
            if call:
                yield call
            call = None
        elif set(word) <= set("<>"):
            skip = True  # the file that follows is the shell's
        elif skip:
            skip = False
        elif call is not None:
            call.append(word)
        elif word in ENTRIES:
            call = [word]


def every_call() -> list[tuple[str, list[str]]]:
    """(page, words) of each documented call with something to check."""
    return [
        (str(page.relative_to(ROOT)), call)
        for page in PAGES
        for line in lines_of(page)
        for call in commands_in(line)
        if len(call) > 1 and not any("..." in word or "[" in word for word in call)
    ]


def refusal(words: list[str]) -> str:
    """Why the command would not take these words; empty where it would."""
    module, _, name = ENTRIES[words[0]].partition(":")
    command = getattr(importlib.import_module(module), name)
    context = click.Context(command, info_name=words[0])
    if len(words) == 2 and words[1].startswith("--"):  # a sentence about an option
        known = {option for parameter in command.params for option in parameter.opts}
        return "" if words[1] in known else f"no option {words[1]}"
    try:
        given, left, _ = command.make_parser(context).parse_args(list(words[1:]))
        for parameter in command.params:
            is_set = parameter.name in given and isinstance(parameter, click.Option)
            if is_set and "$" not in str(given[parameter.name]):
                parameter.type_cast_value(context, given[parameter.name])
    except click.ClickException as error:
        return error.format_message()
    return f"unexpected {' '.join(left)}" if left else ""


def test_there_are_many():
    assert len(every_call()) > 150
    assert {page for page, _ in every_call()} > {"README.md", "docs/howto.md", "man/hi-w1.1"}


@pytest.mark.parametrize("page", sorted({page for page, _ in every_call()}))
def test_every_documented_call_is_one_that_the_command_takes(page):
    refused = {
        " ".join(words): why
        for where, words in every_call()
        if where == page and (why := refusal(words))
    }
    assert not refused


def test_a_call_that_it_would_not_take_is_found():
    assert refusal(["hi-sample", "-n", "10", "model"])
    assert refusal(["hi-sample", "-n", "ten"])
    assert refusal(["hi-sample", "--nothing"])
    assert not refusal(["hi-sample", "-m", "model", "-n", "10"])
