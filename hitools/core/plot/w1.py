"""The figure of hi-w1: every distance in standard deviations, beside what chance gives."""

from typing import TYPE_CHECKING

import numpy as np

from hitools.core.compare.binning import LABELS
from hitools.core.compare.w1 import W1Result
from hitools.core.plot import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LABELS = {
    **LABELS,
    "sin_phi": r"$\sin\phi$",
    "cos_phi": r"$\cos\phi$",
    "evt": r"$\langle W_1 \rangle_{evt}$",
    "part": r"$\langle W_1 \rangle_{part}$",
}


def w1_figure(result: W1Result) -> "Figure":
    """A row for each variable: the distance with its error, and a bar up to its floor."""
    distances = result.distances[::-1]
    rows = np.arange(len(distances))
    values, errors, floors = np.array([d.scaled for d in distances]).T
    with style.house_style():
        figure = style.new_figure(5.0, 0.24 * len(distances) + 0.9)
        axes = figure.add_subplot()
        if np.isfinite(floors).any():
            axes.barh(rows, floors, height=0.75, color="#cfcfcf", label="floor", zorder=1)
        axes.errorbar(
            values,
            rows,
            xerr=errors,
            fmt="o",
            color=style.SAMPLE_COLOUR,
            markerfacecolor="white",
            markersize=4,
            label=r"$W_1$",
            zorder=2,
        )
        axes.set_yticks(rows, [_LABELS[d.name] for d in distances])
        axes.tick_params(axis="y", which="both", left=False, right=False)
        axes.set_ylim(-0.7, len(distances) - 0.3)
        axes.set_xlim(left=0)
        axes.set_xlabel(r"$W_1$ / standard deviation of the reference")
        for border in _borders(result):
            axes.axhline(len(distances) - border - 0.5, color="#666666", linewidth=0.6, zorder=0)
        # Above the axes, where no distance can be.
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
    return figure


def _borders(result: W1Result) -> list[int]:
    """How many rows come before the first particle variable, and before the means."""
    names = [d.name for d in result.distances]
    return [names.index("phi_rel"), names.index("evt")]
