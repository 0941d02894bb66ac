"""One look for every figure: fonts, lines, colours that also differ in grey, files.

Figures are plain matplotlib Figure objects, made without pyplot: nothing global changes and
nothing needs a display. Matplotlib is imported when the first figure is made.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hitools.core.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS: Final = ("pdf", "png", "svg")

REFERENCE_COLOUR: Final = "#1a1a1a"
SAMPLE_COLOUR: Final = "#c1121f"
COLOURS: Final = ("#1a1a1a", "#c1121f", "#4f8fc0", "#e8a33d", "#7a5195")
"""Ordered so that neighbours differ in lightness as well as in hue."""

LINES: Final = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS: Final = ("o", "s", "^", "D", "v")

BAND_COLOURS: Final = {0.10: "#e9e9e9", 0.05: "#d2d2d2"}
"""Half width of a band around a ratio of 1, and its grey; the wider one is drawn first."""

# Any: matplotlib's stubs list every key as a literal, which a dictionary in a constant loses.
_SETTINGS: Final[Any] = {
    "font.size": 9.0,
    "axes.labelsize": 10.0,
    "axes.titlesize": 9.0,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.0,
    "errorbar.capsize": 0.0,
    "mathtext.fontset": "dejavusans",
    "image.cmap": "cividis",
    "pdf.fonttype": 42,
    "svg.hashsalt": "hitools",
}


@contextmanager
def house_style() -> Iterator[None]:
    """Make and save figures inside this."""
    import matplotlib as mpl

    with mpl.rc_context(_SETTINGS):
        yield


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of this size in inches. Call inside house_style."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def check_figure_path(path: Path) -> None:
    """Refuse a file name that no figure can be written to, before the work is done.

    Raises InputError for an unknown ending or a missing folder.
    """
    if path.suffix.lower().lstrip(".") not in FORMATS:
        endings = ", ".join(f".{name}" for name in FORMATS)
        raise InputError(f"{path}: a figure's name ends in one of {endings}")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: the folder {path.absolute().parent} does not exist")


def save_figure(figure: "Figure", path: Path) -> None:
    """Write the figure; the same figure gives the same bytes (no dates inside).

    Raises InputError as check_figure_path does.
    """
    check_figure_path(path)
    dateless = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
    kind = path.suffix.lower().lstrip(".")
    with house_style():
        figure.savefig(path, format=kind, dpi=160, metadata=dateless[kind])


def ratio_bands(axes: "Axes") -> None:
    """Shade +-10% and +-5% around 1 and draw the line at 1."""
    for half_width, colour in BAND_COLOURS.items():
        axes.axhspan(1 - half_width, 1 + half_width, color=colour, linewidth=0, zorder=0)
    axes.axhline(1.0, color="#666666", linewidth=0.8, zorder=1)
