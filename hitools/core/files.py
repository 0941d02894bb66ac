"""Writing small files whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as part:
        part.write_text(text)
