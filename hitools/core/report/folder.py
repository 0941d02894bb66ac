"""The folder that hi-report leaves: report.html, and every figure as PDF."""

from collections.abc import Sequence
from pathlib import Path

from hitools.core.files import write_text
from hitools.core.report.checks import Section


def write_folder(folder: Path, page: str, sections: Sequence[Section]) -> None:
    """Write report.html and NAME.pdf for every figure; other files stay as they are."""
    from hitools.core.plot.style import save_figure

    write_text(folder / "report.html", page)
    for section in sections:
        for name, figure in section.figures.items():
            save_figure(figure, folder / f"{name}.pdf")
