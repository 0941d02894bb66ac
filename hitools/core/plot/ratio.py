"""The figure of the paper's section IV: distributions above, their ratio with bands below."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from hitools.core.features import Float64Array
from hitools.core.plot import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

_HARDLY_KNOWN: Final = 0.25
"""Relative error of a bin of the reference: some 16 entries."""


@dataclass(frozen=True)
class RatioPanel:
    """One variable: what is drawn above, and its ratio below.

    Attributes:
        label: x axis, with unit, e.g. "$p_T$ (GeV/$c$)".
        edges: (n_bins + 1,)
        reference: (n_bins,) height of the reference.
        reference_error: (n_bins,)
        sample: (n_bins,) height of the sample; None draws the reference alone.
        sample_error: (n_bins,) or None.
        y_label: of the upper axes.
        log_x: logarithmic x axis.
        log_y: logarithmic y axis; None: where the heights span more than a factor of 200.
        from_zero: a linear y axis starts at 0; otherwise it shows the variation alone.
        note: a short line above the panel, e.g. a chi2.
    """

    label: str
    edges: Float64Array
    reference: Float64Array
    reference_error: Float64Array
    sample: Float64Array | None = None
    sample_error: Float64Array | None = None
    y_label: str = "density"
    log_x: bool = False
    log_y: bool | None = None
    from_zero: bool = True
    note: str = ""


def ratio_figure(
    panels: Sequence[RatioPanel],
    reference_name: str = "reference",
    sample_name: str = "sample",
    n_columns: int = 3,
) -> "Figure":
    """A grid of panels, each a distribution above and sample / reference below.

    The reference is a filled grey outline, the sample points with error bars: they stay apart
    without colour. The ratio's errors are from both samples.

    Args:
        panels: one or more.
        reference_name: in the legend.
        sample_name: in the legend.
        n_columns: panels in a row.
    """
    n_columns = min(n_columns, len(panels))
    n_rows = math.ceil(len(panels) / n_columns)
    with style.house_style():
        figure, grid = style.new_grid(n_rows, n_columns)
        for k, panel in enumerate(panels):
            cell = grid[k // n_columns, k % n_columns]
            draw_panel(figure, cell, panel, reference_name, sample_name, legend=k == 0)
    return figure


def draw_panel(
    figure: "Figure",
    cell: "SubplotSpec",
    panel: RatioPanel,
    reference_name: str,
    sample_name: str,
    *,
    legend: bool,
) -> None:
    """One variable in a cell of a grid: distribution above, ratio below."""
    parts = cell.subgridspec(2, 1, height_ratios=[2.4, 1], hspace=0.06)
    lower = figure.add_subplot(parts[1])
    upper = figure.add_subplot(parts[0], sharex=lower)
    upper.tick_params(labelbottom=False)
    draw_distribution(upper, panel, reference_name, sample_name)
    draw_ratio(lower, panel, "ratio")
    if legend:
        upper.legend(loc="best")
    style.place_y_label(upper)
    style.place_y_label(lower)


def draw_distribution(
    axes: "Axes", panel: RatioPanel, reference_name: str, sample_name: str
) -> None:
    """The upper part of a panel."""
    axes.stairs(panel.reference, panel.edges, fill=True, color="#c9c9c9", zorder=1)
    axes.stairs(
        panel.reference,
        panel.edges,
        color=style.REFERENCE_COLOUR,
        linewidth=1.2,
        label=reference_name,
        zorder=2,
    )
    if panel.sample is not None:
        axes.errorbar(
            _centres(panel),
            panel.sample,
            panel.sample_error,
            fmt="o",
            color=style.SAMPLE_COLOUR,
            markerfacecolor="white",
            markeredgewidth=0.9,
            elinewidth=0.9,
            label=sample_name,
            zorder=3,
        )
    heights = shown = panel.reference[panel.reference > 0]
    if panel.sample is not None:
        shown = np.append(heights, panel.sample[panel.sample > 0])
    log_y = panel.log_y
    if log_y is None:
        log_y = heights.size > 0 and heights.max() > 200 * heights.min()
    if log_y and heights.size:
        axes.set_yscale("log")
        axes.set_ylim(heights.min() / 3, heights.max() * 6)
    elif heights.size and panel.from_zero:
        # A wild sample is cut off: the reference must not become a line on the floor.
        axes.set_ylim(0, min(max(heights.max(), shown.max()) * 1.35, heights.max() * 3))
    elif heights.size:
        low, high = shown.min(), shown.max()
        margin = max(high - low, 0.02 * high)
        axes.set_ylim(low - 0.5 * margin, high + margin)
    if panel.log_x:
        axes.set_xscale("log")
    if axes.get_yscale() == "linear":
        # The lowest number would touch the highest one of the ratio below.
        axes.locator_params(axis="y", nbins=6, prune="lower")
    axes.set_xlim(panel.edges[0], panel.edges[-1])
    axes.set_ylabel(panel.y_label)
    if panel.note:
        axes.set_title(panel.note, loc="right", fontsize=8)


def draw_ratio(axes: "Axes", panel: RatioPanel, label: str) -> None:
    """The lower part of a panel: sample / reference on the bands, 0.5 to 1.5 at most.

    Ratios outside the axes are marked by a triangle at their edge, unless the reference itself
    is hardly known there: a row of triangles under an empty tail says nothing.
    """
    style.ratio_bands(axes)
    axes.set_xlabel(panel.label)
    axes.set_ylabel(label, fontsize=8.5)
    axes.set_ylim(0.75, 1.25)
    if panel.sample is None:
        return
    filled = panel.reference > 0
    safe = np.where(filled, panel.reference, 1.0)
    ratio = np.where(filled, panel.sample / safe, np.nan)
    sample_error = np.zeros_like(ratio) if panel.sample_error is None else panel.sample_error
    error = np.hypot(sample_error / safe, ratio * panel.reference_error / safe)
    known = filled & np.isfinite(error) & (error < 0.25)
    if np.any(known) and np.max(np.abs(ratio[known] - 1) + error[known]) > 0.25:
        axes.set_ylim(0.5, 1.5)
    low, high = axes.get_ylim()
    centres = _centres(panel)
    axes.errorbar(
        centres,
        ratio,
        error,
        fmt="o",
        color=style.SAMPLE_COLOUR,
        markerfacecolor="white",
        markeredgewidth=0.9,
        elinewidth=0.9,
        zorder=3,
    )
    solid = panel.reference_error < _HARDLY_KNOWN * panel.reference
    above, below = solid & (ratio > high), solid & (ratio < low)
    for outside, marker, at in ((above, "^", high), (below, "v", low)):
        if np.any(outside):
            axes.plot(
                centres[outside],
                np.full(outside.sum(), at),
                marker,
                color=style.SAMPLE_COLOUR,
                markersize=3.5,
                clip_on=False,
                zorder=4,
            )


def _centres(panel: RatioPanel) -> Float64Array:
    """Middle of each bin as it looks on the axis."""
    low, high = panel.edges[:-1], panel.edges[1:]
    return np.sqrt(low * high) if panel.log_x else (low + high) / 2
