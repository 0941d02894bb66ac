"""Ratio maps in two dimensions with the contour that holds 95% of the reference (paper, Fig. 4)."""

from typing import TYPE_CHECKING

import numpy as np

from hitools.core.compare.maps import RatioMap
from hitools.core.plot.style import place_y_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_REACH = 0.5


def draw_ratio_map(
    figure: "Figure",
    axes: "Axes",
    ratios: RatioMap,
    x_label: str,
    y_label: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
) -> None:
    """One map: lightness grows with sample / reference from 0.5 to 1.5, white where empty.

    One scale of lightness, not two colours around 1, so that it reads the same in grey.

    Args:
        figure: holds the axes.
        axes: to draw in.
        ratios: what to draw.
        x_label: with unit.
        y_label: with unit.
        log_x: logarithmic axis.
        log_y: likewise.
    """
    x, y = ratios.x_edges, ratios.y_edges
    shown = np.where(ratios.reference > 0, ratios.ratio, np.nan).T
    image = axes.pcolormesh(
        x, y, shown, cmap="cividis", vmin=1 - _REACH, vmax=1 + _REACH, rasterized=True
    )
    _outline(axes, ratios)
    if log_x:
        axes.set_xscale("log")
        _plain_ticks(axes.xaxis)
    if log_y:
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis)
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(y[0], y[-1])
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    mean, median = ratios.score.mean, ratios.score.median
    axes.set_title(rf"ratio: mean {mean:.2f}, median {median:.2f}", loc="right", fontsize=8)
    bar = figure.colorbar(image, ax=axes, extend="both", pad=0.03, fraction=0.18, aspect=30)
    bar.set_label("sample / reference", fontsize=8)
    place_y_label(axes)


def _plain_ticks(axis: "Axis") -> None:
    """Ticks of a logarithmic axis at 1, 2, 5 times powers of ten, written out."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _outline(axes: "Axes", ratios: RatioMap) -> None:
    """Dash the border of the core bins along the edges of the bins themselves."""
    inside = np.pad(ratios.core, 1)
    x, y = ratios.x_edges, ratios.y_edges
    # A border is drawn wherever the mask changes from one bin to the next.
    across = np.argwhere(inside[1:, 1:-1] != inside[:-1, 1:-1])
    along = np.argwhere(inside[1:-1, 1:] != inside[1:-1, :-1])
    segments = [[(x[i], y[j]), (x[i], y[j + 1])] for i, j in across]
    segments += [[(x[i], y[j]), (x[i + 1], y[j])] for i, j in along]
    from matplotlib.collections import LineCollection

    for colour, width in (("white", 2.2), ("black", 1.1)):
        axes.add_collection(LineCollection(segments, colors=colour, linewidths=width))
