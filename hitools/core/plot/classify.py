"""The figure of hi-classify: ROC curves (paper, Fig. 12) and the weights C/(1-C) of both samples.

Close to chance the ROC curve hides in its diagonal, so the distance from it is drawn below with
the band that chance would fill.
"""

from typing import TYPE_CHECKING, Final

import numpy as np

from hitools.core.compare.classify.separation import ClassifierResult, Separation
from hitools.core.compare.classify.two_sample import ClassifyResult
from hitools.core.features import BoolArray, Float64Array
from hitools.core.plot import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

_TITLES: Final = {
    "event": "event features, MLP",
    "deepsets": "particles, Deep Sets",
    "transformer": "particles, transformer",
}
_SHARES: Final = np.linspace(0, 1, 201)
_FLOOR_COLOUR: Final = "#4f8fc0"
_N_BINS: Final = 30


def classify_figure(
    result: ClassifyResult, names: tuple[str, str] = ("reference", "sample")
) -> "Figure":
    """One column per classifier: ROC, its distance from chance, weights.

    Args:
        result: of a ClassifyAccumulator.
        names: of the two samples, for the legends.
    """
    n = len(result.classifiers)
    with style.house_style():
        figure = style.new_figure(3.6 * n, 7.0)
        grid = figure.add_gridspec(2, n, height_ratios=[1.35, 1])
        for k, verdict in enumerate(result.classifiers):
            _roc(figure, grid[0, k], verdict, names)
            _weights(figure.add_subplot(grid[1, k]), verdict, names, legend=k == 0)
    return figure


def _roc(
    figure: "Figure", cell: "SubplotSpec", verdict: ClassifierResult, names: tuple[str, str]
) -> None:
    parts = cell.subgridspec(2, 1, height_ratios=[2.2, 1], hspace=0)
    lower = figure.add_subplot(parts[1])
    upper = figure.add_subplot(parts[0], sharex=lower)
    upper.tick_params(labelbottom=False)
    upper.plot([0, 1], [0, 1], color="#666666", linewidth=0.8, zorder=1)
    for width, colour in zip((2, 1), style.BAND_COLOURS.values(), strict=True):
        band = width * _chance_band(verdict.observed)
        lower.fill_between(_SHARES, -band, band, color=colour, linewidth=0, zorder=0)
    lower.axhline(0, color="#666666", linewidth=0.8, zorder=1)

    curves = [(verdict.observed, "", style.SAMPLE_COLOUR, "-", 3)]
    if verdict.floor:
        curves.append((verdict.floor, "floor, ", _FLOOR_COLOUR, "--", 2))
    for separation, prefix, colour, line, order in curves:
        value, error = separation.statistics["auc"]
        label = rf"{prefix}AUC {value:.3f} $\pm$ {error:.3f}"
        curve = separation.mean_roc(_SHARES)
        upper.plot(_SHARES, curve, line, color=colour, label=label, zorder=order)
        lower.plot(_SHARES, curve - _SHARES, line, color=colour, zorder=order)
    upper.set_ylim(0, 1)
    upper.set_ylabel(f"share of {names[0]} kept")
    upper.set_title(_TITLES[verdict.name])
    upper.legend(loc="lower right")
    lower.set_xlim(0, 1)
    _symmetric(lower)
    lower.set_xlabel(f"share of {names[1]} kept")
    lower.set_ylabel("above chance")
    figure.align_ylabels([upper, lower])


def _symmetric(axes: "Axes") -> None:
    most = max(abs(limit) for limit in axes.get_ylim())
    axes.set_ylim(-most, most)


def _chance_band(separation: Separation) -> Float64Array:
    """Standard deviation of the ROC curve at each share where both samples have one parent.

    sqrt(f (1 - f) (1/n + 1/m)) of one training, n and m the effective numbers of test events.
    """
    effective = []
    for answer in separation.answers:
        ranked = answer.ranked
        for chosen in (ranked.is_reference, ~ranked.is_reference):
            w = ranked.weights[chosen]
            effective.append(w.sum() ** 2 / (w**2).sum())
    inverse = 2 * np.mean(1 / np.array(effective))
    return np.sqrt(_SHARES * (1 - _SHARES) * inverse)


def _weights(
    axes: "Axes", verdict: ClassifierResult, names: tuple[str, str], *, legend: bool
) -> None:
    separation = verdict.observed
    rows = separation.rows
    log10_w = separation.log_weights / np.log(10)
    low, high = min(log10_w.min(), -0.05), max(log10_w.max(), 0.05)
    edges = np.linspace(low, high, _N_BINS + 1)

    def shares(chosen: BoolArray) -> Float64Array:
        counts = np.histogram(log10_w[chosen], edges, weights=separation.weights[rows[chosen]])[0]
        return counts / counts.sum()

    is_reference = separation.is_reference[rows]
    reference, sample = shares(is_reference), shares(~is_reference)
    least = min(x[x > 0].min() for x in (reference, sample)) / 3
    axes.stairs(reference, edges, fill=True, baseline=least, color="#c9c9c9", zorder=1)
    axes.stairs(
        reference, edges, baseline=least, color=style.REFERENCE_COLOUR, label=names[0], zorder=2
    )
    axes.stairs(
        sample,
        edges,
        baseline=least,
        color=style.SAMPLE_COLOUR,
        linestyle="--",
        linewidth=1.6,
        label=names[1],
        zorder=3,
    )
    axes.axvline(0, color="#666666", linewidth=0.8, zorder=1)
    axes.set_yscale("log")
    axes.set_ylim(least, 3)
    axes.set_xlim(low - 0.02 * (high - low), high + 0.02 * (high - low))
    axes.set_xlabel(r"$\log_{10}\, w$,  $w = C/(1-C)$")
    axes.set_ylabel("share of events")
    if legend:
        axes.legend(loc="upper left")
