"""Commands whose results are kept: run once, and again only when something about them changed.

For scorecard.py. A result belongs to the words of its command, the contents of its input files and
the source of hitools; it is used again only while all of these, and the result itself, are as they
were.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import hitools


class StepError(Exception):
    """A command failed; the message is its own last line."""


class OutOfTimeError(StepError):
    """A command was ended because the time given was over."""


class Steps:
    """Runs commands in a folder, each at most once.

    Attributes:
        folder: where they run and leave their results.
        commands: lines of all steps asked for, run now or before.
    """

    def __init__(self, folder: Path, deadline: float | None = None) -> None:
        """Make the folder; deadline is a time of time.monotonic()."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.commands: list[str] = []
        self._deadline = deadline

    def run(
        self,
        name: str,
        words: Sequence[str],
        inputs: Sequence[Path],
        outputs: Sequence[str],
        *,
        stdout: str | None = None,
        also: str = "",
    ) -> None:
        """Run a command, unless it ran before with the same words, inputs and program.

        Args:
            name: of the step.
            words: the command, run in the folder.
            inputs: files whose contents decide the result.
            outputs: files that it writes, relative to the folder.
            stdout: where its standard output goes; one of the outputs.
            also: whatever else decides the result, such as the machine for a timing.

        Raises:
            StepError: it failed.
            OutOfTimeError: it did not end before the deadline.
        """
        # For cards and pages: where this machine keeps its files is of no use to others.
        shown = [Path(word).name if word.startswith("/") else word for word in words]
        self.commands.append(" ".join([*shown, *([f"> {stdout}"] if stdout else [])]))
        record = self.folder / f".{name}.json"
        key = [*words, _source_hash(), also, *(sha256(path) for path in inputs)]
        if self._is_as_recorded(record, key, outputs):
            return
        record.unlink(missing_ok=True)
        print(f"$ {self.commands[-1]}", file=sys.stderr, flush=True)
        self._call(words, stdout)
        made = {output: sha256(self.folder / output) for output in outputs}
        record.write_text(json.dumps({"key": key, "outputs": made}))

    def _is_as_recorded(self, record: Path, key: list[str], outputs: Sequence[str]) -> bool:
        try:
            found = json.loads(record.read_text())
            return bool(
                found["key"] == key
                and found["outputs"] == {o: sha256(self.folder / o) for o in outputs}
            )
        except (OSError, ValueError, KeyError):
            return False

    def _call(self, words: Sequence[str], stdout: str | None) -> None:
        left = None if self._deadline is None else self._deadline - time.monotonic()
        if left is not None and left <= 0:
            raise OutOfTimeError(f"{words[0]}: no time was left for it")
        target = (self.folder / stdout).open("wb") if stdout else subprocess.DEVNULL
        try:
            done = subprocess.run(
                [program(words[0]), *words[1:]],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=target,
                stderr=subprocess.PIPE,
                timeout=left,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise OutOfTimeError(f"{words[0]}: the time was over before it ended") from None
        finally:
            if stdout:
                target.close()  # type: ignore[union-attr]
        if done.returncode:
            lines = done.stderr.decode(errors="replace").splitlines()
            raise StepError(lines[-1] if lines else f"{words[0]}: status {done.returncode}")


def program(name: str) -> str:
    """Path of an installed command: of this Python where it has one; "python" is itself."""
    if name == "python":
        return sys.executable
    beside = Path(sys.executable).with_name(name)
    if beside.exists():
        return str(beside)
    found = shutil.which(name)
    if found is None:
        raise StepError(f"{name}: not installed")
    return found


def sha256(path: Path) -> str:
    """Of the contents of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def _source_hash() -> str:
    root = Path(hitools.__file__).parent
    digest = hashlib.sha256()
    for path in (*sorted(root.rglob("*.py")), Path(__file__).with_name("cost.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
