"""The figures of hi-closure: all distributions with ratio panels, and the ratio maps."""

from typing import TYPE_CHECKING, Literal

from hitools.core.compare.binning import LOGARITHMIC, axis_label
from hitools.core.compare.closure import ClosureResult, VariableClosure
from hitools.core.plot import style
from hitools.core.plot.maps import draw_ratio_map
from hitools.core.plot.ratio import RatioPanel, draw_panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Section = Literal["events", "particles", "maps"]

_COLUMNS = 3


def closure_figure(
    result: ClosureResult,
    sections: tuple[Section, ...] = ("events", "particles", "maps"),
    names: tuple[str, str] = ("reference", "sample"),
) -> "Figure":
    """Distributions of event and particle variables and maps of pairs, in rows of three.

    Args:
        result: of a ClosureAccumulator.
        sections: what to show.
        names: of the two samples, for the legend.
    """
    cells: list[list[VariableClosure | tuple[str, str]]] = []
    variables: dict[Section, list[VariableClosure | tuple[str, str]]] = {
        "events": [v for v in result.variables if v.binning.of_events],
        "particles": [v for v in result.variables if not v.binning.of_events],
        "maps": list(result.maps),
    }
    for section in sections:
        # Each section starts a row of its own.
        content = variables[section]
        cells += [content[k : k + _COLUMNS] for k in range(0, len(content), _COLUMNS)]
    with style.house_style():
        figure, grid = style.new_grid(len(cells), _COLUMNS)
        for i, row in enumerate(cells):
            for j, item in enumerate(row):
                if isinstance(item, VariableClosure):
                    panel = variable_panel(item)
                    draw_panel(figure, grid[i, j], panel, *names, legend=i == j == 0)
                else:
                    x, y = item
                    draw_ratio_map(
                        figure,
                        figure.add_subplot(grid[i, j]),
                        result.maps[item],
                        axis_label(x),
                        axis_label(y),
                        log_x=x in LOGARITHMIC,
                        log_y=y in LOGARITHMIC,
                    )
    return figure


def variable_panel(variable: VariableClosure) -> RatioPanel:
    """One variable of the result as a panel."""
    c = variable.comparison
    return RatioPanel(
        axis_label(variable.binning.name),
        c.edges,
        c.reference,
        c.reference_error,
        c.sample,
        c.sample_error,
        log_x=variable.binning.log,
        note=rf"$\chi^2$/ndf {c.chi2:.0f}/{c.ndf}",
    )
