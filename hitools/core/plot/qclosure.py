"""The figure of hi-qclosure: recomputed against stored Q, and their difference (paper, Fig. 5)."""

from typing import TYPE_CHECKING

import numpy as np

from hitools.core.compare.qclosure import QClosureResult
from hitools.core.plot import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def qclosure_figure(result: QClosureResult) -> "Figure":
    """Density of events for either component, and the two differences."""
    from matplotlib.colors import LogNorm

    shown = result.figure
    quantities = {q.name: q for q in result.quantities()}
    with style.house_style():
        figure = style.new_figure(10.2, 3.3)
        densities = figure.add_gridspec(1, 3, width_ratios=[1.1, 1.1, 1])
        for k, component in enumerate("xy"):
            axes = figure.add_subplot(densities[k])
            content = shown.density[k]
            top = max(float(content.max()), 2.0)
            image = axes.pcolormesh(
                shown.q_edges,
                shown.q_edges,
                np.ma.masked_equal(content, 0).T,
                cmap="cividis_r",
                norm=LogNorm(vmin=min(1.0, top / 10), vmax=top),
                rasterized=True,
            )
            axes.plot(shown.q_edges[[0, -1]], shown.q_edges[[0, -1]], "k--", linewidth=0.8)
            axes.set_xlabel(rf"stored $Q_{component}$ (GeV/$c$)")
            axes.set_ylabel(rf"$Q_{component}$ of the particles (GeV/$c$)")
            rho = quantities[f"q.correlation.{component}"].value
            note = "closes by construction" if result.by_construction else rf"$\rho$ = {rho:.3f}"
            axes.set_title(note, loc="left", fontsize=8.5)
            bar = figure.colorbar(image, ax=axes, pad=0.02)
            bar.ax.set_title("events", fontsize=8.5)
        axes = figure.add_subplot(densities[2])
        for k, component in enumerate("xy"):
            mean, width = (
                quantities[f"q.{statistic}.{component}"].value for statistic in ("mean", "width")
            )
            label = rf"$\Delta Q_{component}$"
            if not result.by_construction:
                label += rf": $\mu$ = {mean:.2f}, $\sigma$ = {width:.2f}"
            axes.stairs(
                shown.difference[k],
                shown.difference_edges,
                color=style.COLOURS[k],
                linestyle=style.LINES[k],
                linewidth=1.5,
                label=label,
            )
        axes.set_xlabel(r"$Q$(particles) $-$ $Q$(stored) (GeV/$c$)")
        axes.set_ylabel("events")
        axes.set_ylim(0, 1.35 * float(shown.difference.max()) or 1.0)
        axes.legend(loc="upper right")
    return figure
