"""The figures of hi-flow: trigger correlation (paper, Fig. 6) and v_n(pT) (Fig. 7)."""

from typing import TYPE_CHECKING

import numpy as np

from hitools.core.compare.flow import FlowResult
from hitools.core.compare.flow_values import FlowNumbers
from hitools.core.compare.histogram import normalised
from hitools.core.plot import style
from hitools.core.plot.maps import draw_ratio_map
from hitools.core.plot.ratio import RatioPanel, draw_panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec


def flow_figure(result: FlowResult, names: tuple[str, str] = ("reference", "sample")) -> "Figure":
    """Pairs per trigger with ratio and map, then v_n{SP}(pT) and v_n{2}, v_n{4} for each n.

    Args:
        result: of a FlowAccumulator, with or without a reference.
        names: of the two samples, for the legends.
    """
    harmonics = result.options.harmonics
    n_columns = max(2, len(harmonics))
    with style.house_style():
        figure, grid = style.new_grid(3, n_columns, width=3.5)
        draw_panel(figure, grid[0, 0], _pairs_panel(result), *names, legend=True)
        if result.comparison is not None:
            draw_ratio_map(
                figure,
                figure.add_subplot(grid[0, 1]),
                result.comparison.map,
                r"$\Delta\phi$ (rad)",
                r"$p_T^{trig}$ (GeV/$c$)",
                log_y=True,
            )
        for k, n in enumerate(harmonics):
            _scalar_product(figure, grid[1, k], result, n, names)
            _cumulants(figure.add_subplot(grid[2, k]), result, n, names)
    return figure


def _pairs_panel(result: FlowResult) -> RatioPanel:
    options = result.options
    label = r"$\Delta\phi$ (rad)"
    title = r"(1/$N_{trig}$) d$N$/d$\Delta\phi$"
    note = rf"$p_T^{{trig}} >$ {options.pairs.trigger_pt:g} GeV/$c$"
    if result.comparison is None:
        sums = result.sample_sums
        value, error = normalised(sums["delta_phi"], sums["triggers"])
        edges = options.delta_phi_edges
        width = np.diff(edges)
        return RatioPanel(
            label,
            edges,
            value / width,
            error / width,
            y_label=title,
            note=note,
            log_y=False,
            from_zero=False,
        )
    c = result.comparison.delta_phi
    return RatioPanel(
        label,
        c.edges,
        c.reference,
        c.reference_error,
        c.sample,
        c.sample_error,
        y_label=title,
        note=note,
        log_y=False,
        from_zero=False,
    )


def _samples(result: FlowResult, names: tuple[str, str]) -> list[tuple[FlowNumbers, str, int]]:
    """Numbers, legend entry and place in the list of colours of each sample."""
    if result.reference is None:
        return [(result.sample, names[1], 1)]
    return [(result.reference, names[0], 0), (result.sample, names[1], 1)]


def _scalar_product(
    figure: "Figure", cell: "SubplotSpec", result: FlowResult, n: int, names: tuple[str, str]
) -> None:
    """v_n{SP}(pT), and the difference of the samples below."""
    parts = cell.subgridspec(2, 1, height_ratios=[2.4, 1], hspace=0.06)
    lower = figure.add_subplot(parts[1])
    upper = figure.add_subplot(parts[0], sharex=lower)
    upper.tick_params(labelbottom=False)
    edges = np.array(result.options.pt_edges)
    for numbers, label, k in _samples(result, names):
        resolution = float(numbers.value[f"v{n}_sp.resolution"])
        _points(
            upper, edges, numbers, f"v{n}_sp(pt)", f"{label} ({resolution:.3f})", k, shift=k - 0.5
        )
    upper.axhline(0, color="#666666", linewidth=0.8)
    _make_room(upper, 0.5)
    upper.set_ylabel(rf"$v_{n}\{{\mathrm{{SP}}\}}$")
    title = rf"$\langle\cos {n}(\psi_A - \psi_B)\rangle$ in brackets"
    upper.legend(loc="upper left", title=title, title_fontsize=8)
    if not any(
        _known(s.value[f"v{n}_sp(pt)"], s.error[f"v{n}_sp(pt)"]).any()
        for s, _, _ in _samples(result, names)
    ):
        note = "not measured: no resolution"
        upper.text(0.5, 0.12, note, transform=upper.transAxes, ha="center", color="#666666")
    lower.axhline(0, color="#666666", linewidth=0.8)
    lower.set_xlabel(r"$p_T$ (GeV/$c$)")
    lower.set_ylabel("difference", fontsize=8.5)
    lower.set_xlim(edges[0], _last_edge(result, names, (f"v{n}_sp",)))
    if result.reference is not None:
        name = f"v{n}_sp(pt)"
        difference = result.sample.value[name] - result.reference.value[name]
        error = np.hypot(result.sample.error[name], result.reference.error[name])
        difference = np.where(_known(difference, error), difference, np.nan)
        _errorbar(lower, (edges[1:] + edges[:-1]) / 2, difference, error, 1, "")
    style.place_y_label(upper)
    style.place_y_label(lower)


def _cumulants(axes: "Axes", result: FlowResult, n: int, names: tuple[str, str]) -> None:
    """v_n{2}(pT) and v_n{4}(pT), each where the integrated number is known to 50% at least."""
    edges = np.array(result.options.pt_edges)
    for order in (2, 4):
        for numbers, label, k in _samples(result, names):
            name = f"v{n}_{order}"
            # False also where c_n has the wrong sign and v_n is not defined.
            if numbers.error[name] < 0.5 * numbers.value[name]:
                look = k + order - 2
                entry = rf"$v_{n}\{{{order}\}}$ {label}"
                _points(axes, edges, numbers, f"{name}(pt)", entry, look, 0.6 * (look - 1.5))
    axes.axhline(0, color="#666666", linewidth=0.8)
    axes.set_xlabel(r"$p_T$ (GeV/$c$)")
    axes.set_ylabel(rf"$v_{n}\{{2\}}, v_{n}\{{4\}}$")
    axes.set_xlim(edges[0], _last_edge(result, names, (f"v{n}_2", f"v{n}_4")))
    if axes.get_legend_handles_labels()[0]:
        _make_room(axes, 0.35)
        axes.legend(loc="upper left")


def _points(
    axes: "Axes",
    edges: np.ndarray,
    numbers: FlowNumbers,
    name: str,
    label: str,
    look: int,
    shift: float,
) -> None:
    """A curve over pT bins, moved aside by a part of a bin; points known badly are left out."""
    centres = (edges[1:] + edges[:-1]) / 2 + 0.2 * shift * np.diff(edges)
    value, error = numbers.value[name], numbers.error[name]
    _errorbar(axes, centres, np.where(_known(value, error), value, np.nan), error, look, label)


def _known(value: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Which points to draw: one bin with a handful of particles must not set the axis."""
    known = np.isfinite(value) & np.isfinite(error)
    return known & (error < 6 * np.median(error[known])) if known.any() else known


def _last_edge(result: FlowResult, names: tuple[str, str], curves: tuple[str, ...]) -> float:
    """Where the last bin ends that has a point in one of these; the last edge where none has."""
    known = [
        _known(sample.value[f"{curve}(pt)"], sample.error[f"{curve}(pt)"])
        for sample, _, _ in _samples(result, names)
        for curve in curves
    ]
    filled = np.flatnonzero(np.any(known, axis=0))
    return float(result.options.pt_edges[filled[-1] + 1 if filled.size else -1])


def _make_room(axes: "Axes", share: float) -> None:
    """Raise the top of the axes for a legend in the upper corner."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + share * (high - low))


def _errorbar(
    axes: "Axes", x: np.ndarray, value: np.ndarray, error: np.ndarray, look: int, label: str
) -> None:
    axes.errorbar(
        x,
        value,
        error,
        fmt=style.MARKERS[look],
        color=style.COLOURS[look],
        markerfacecolor=style.COLOURS[look] if look % 2 == 0 else "white",
        markeredgewidth=0.9,
        elinewidth=0.9,
        label=label,
    )
