"""The loss curves of a training."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from hitools.core.plot import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


LOSSES: Final = {
    "vectors": ("event vectors", "minus log-likelihood of an event"),
    "event": ("event branch", "mean squared error of v"),
    "particle": ("particle branch", "mean squared error of v"),
    "hard": ("hard particles", "minus log-likelihood of an event"),
    "whole": ("small events", "minus log-likelihood of an event"),
}
"""Of each branch, by its name in metrics.jsonl: title, and what its loss is."""


def loss_figure(epochs: Sequence[dict[str, Any]]) -> "Figure":
    """Training and validation loss against optimiser steps, of each branch that was trained.

    Args:
        epochs: the lines of a model's metrics.jsonl, at least one.
    """
    steps = [epoch["step"] for epoch in epochs]
    branches = [name for name in LOSSES if name in epochs[0]["validation"]]
    best = [epoch for epoch in epochs if epoch["best"]][-1:]
    with style.house_style():
        figure = style.new_figure(3.5 * len(branches), 2.8)
        for place, branch in enumerate(branches, 1):
            axes = figure.add_subplot(1, len(branches), place)
            for kind, line, colour in (
                ("training", style.LINES[1], style.COLOURS[1]),
                ("validation", style.LINES[0], style.COLOURS[0]),
            ):
                values = [epoch[kind][branch] for epoch in epochs]
                axes.plot(
                    steps,
                    values,
                    linestyle=line,
                    color=colour,
                    marker="." if len(epochs) < 3 else "",
                    label=kind,
                )
            for epoch in best:
                axes.plot(
                    epoch["step"],
                    epoch["validation"][branch],
                    "o",
                    color=style.COLOURS[0],
                    markerfacecolor="white",
                    label="kept",
                )
            title, loss = LOSSES[branch]
            axes.set_title(title, loc="right")
            axes.set_xlabel("optimiser step")
            axes.set_ylabel(loss)
        figure.axes[0].legend()
    return figure
