"""The figure of hi-jets: every observable of jets with its ratio panel (Figs. 8, 9, 10, 15)."""

import math
from typing import TYPE_CHECKING

import numpy as np

from hitools.core.errors import InputError
from hitools.core.features import Float64Array
from hitools.core.observables.jets.comparison import (
    JetComparisonResult,
    JetSummary,
    VariableComparison,
)
from hitools.core.observables.jets.variables import Variable
from hitools.core.plot.ratio import RatioPanel, ratio_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 3
_PANELS_A_PAGE = 9


def jets_figure(
    result: JetComparisonResult, names: tuple[str, str] = ("reference", "sample")
) -> "Figure":
    """A panel for each observable that has values on both sides (pT always has).

    Args:
        result: of a JetComparison.
        names: of the two samples, for the legend.
    """
    return ratio_figure(_panels(result), *names, n_columns=_COLUMNS)


def jets_pages(
    result: JetComparisonResult, names: tuple[str, str] = ("reference", "sample")
) -> "list[Figure]":
    """The same panels on figures of three rows, each of which fits a sheet of paper."""
    panels = _panels(result)
    pages = [panels[k : k + _PANELS_A_PAGE] for k in range(0, len(panels), _PANELS_A_PAGE)]
    return [ratio_figure(page, *names, n_columns=_COLUMNS) for page in pages]


def summary_figure(summary: JetSummary, name: str = "jets") -> "Figure":
    """The distributions of one input by itself.

    Args:
        summary: of JetComparison.alone.
        name: for the legend.

    Raises:
        InputError: there is no event.
    """
    if not summary.densities:
        raise InputError("no events, and so no jets to draw")
    panels = []
    for variable in summary.variables:
        if variable.name in summary.densities:
            edges, density, error = summary.densities[variable.name]
            log_x = _log_axis(variable, edges)
            panels.append(
                RatioPanel(variable.axis_label, edges, density, np.nan_to_num(error), log_x=log_x)
            )
    return ratio_figure(panels, name, n_columns=_COLUMNS)


def _log_axis(variable: Variable, edges: Float64Array) -> bool:
    """Over less than a factor of 30 the ticks of a logarithmic axis run into each other."""
    return variable.log and bool(edges[-1] > 30 * edges[0])


def _panels(result: JetComparisonResult) -> list[RatioPanel]:
    return [_panel(entry) for entry in result.variables if entry.ratio is not None]


def _panel(entry: VariableComparison) -> RatioPanel:
    ratio, variable = entry.ratio, entry.variable
    assert ratio is not None
    note = f"$W_1$ {entry.w1.value:.2g}"
    if not math.isnan(entry.w1.floor):
        note += f" (floor {entry.w1.floor:.2g})"
    return RatioPanel(
        variable.axis_label,
        ratio.edges,
        ratio.reference,
        ratio.reference_error,
        ratio.sample,
        np.nan_to_num(ratio.sample_error),
        log_x=_log_axis(variable, ratio.edges),
        note=note,
    )
