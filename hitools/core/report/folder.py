"""The folder that hi-report leaves: report.html, and every figure as PDF."""

from collections.abc import Sequence
from pathlib import Path

from hitools.core.errors import InputError
from hitools.core.files import write_text
from hitools.core.report.checks import Section


def make_folder(folder: Path) -> None:
    """Create it where it does not exist. Raises InputError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot make this folder: {error.strerror}") from None


def write_folder(folder: Path, page: str, sections: Sequence[Section]) -> None:
    """Write report.html and NAME.pdf for every figure; other files stay as they are."""
    from hitools.core.plot.style import save_figure

    write_text(folder / "report.html", page)
    for section in sections:
        for name, figure in section.figures.items():
            save_figure(figure, folder / f"{name}.pdf")
