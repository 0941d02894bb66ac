"""Writing small files whole or not at all, and folders that are not left empty."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hitools.core.errors import InputError
from hitools.core.interrupts import interrupts_held


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name when the block ends well.

    The temporary name keeps the suffix, from which libraries tell a format. A path that exists and
    is no plain file (a named pipe, a device) is written to as it is.
    """
    try:
        if path.exists() and not path.is_file():
            yield path
        else:
            with _replacing(path) as part:
                yield part
    except OSError as error:
        name = error.filename
        # A full disk is told without, a missing folder with the name that nobody asked for.
        if name is None or Path(name).name.startswith(f".{path.stem}."):
            error.filename = str(path)
        raise


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    part = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        part.touch(exist_ok=False)  # before any work: the folder may be missing, or not ours
        yield part
        part.replace(path)
    finally:
        with interrupts_held():
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as part:
        part.write_text(text)


@contextmanager
def filling(folder: Path) -> Iterator[None]:
    """Make a folder; what was made of it goes where the block fails and has put nothing there.

    Raises InputError where it cannot be made.
    """
    try:
        new = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot make this folder: {error.strerror}") from None
    try:
        yield
    except BaseException:
        with suppress(OSError):  # it holds something
            for path in new:
                path.rmdir()
        raise
