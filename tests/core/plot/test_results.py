"""The figures of the four commands: drawn for every kind of result, showing what they should."""

import numpy as np
import pytest

from hitools.core.compare.closure import ClosureAccumulator
from hitools.core.compare.flow import FlowAccumulator
from hitools.core.compare.flow_sums import FlowOptions
from hitools.core.compare.maps import compare_maps
from hitools.core.compare.qclosure import QClosureAccumulator
from hitools.core.compare.w1 import W1Accumulator
from hitools.core.observables.pairs import PairCuts
from hitools.core.plot import style
from hitools.core.plot.closure import closure_figure
from hitools.core.plot.flow import flow_figure
from hitools.core.plot.maps import draw_ratio_map
from hitools.core.plot.qclosure import qclosure_figure
from hitools.core.plot.w1 import w1_figure
from tests.core.toys import toy_events

REFERENCE, SAMPLE = toy_events(300, 1, flow={2: 0.2}), toy_events(250, 2, flow={2: 0.2})
FLOW = FlowOptions(harmonics=(2, 3), pairs=PairCuts(trigger_pt=2.0))


def fed(accumulator, *, reference=True, sample=True):
    if reference:
        accumulator.add_reference(REFERENCE)
    if sample:
        accumulator.add_sample(SAMPLE)
    return accumulator.result()


@pytest.mark.parametrize(
    ("figure", "n_axes"),
    [
        (lambda: w1_figure(fed(W1Accumulator())), 1),
        (lambda: w1_figure(fed(W1Accumulator(), sample=False)), 1),
        (lambda: qclosure_figure(fed(QClosureAccumulator(), reference=False)), 5),
        # ratio panel, map with colour bar, and 2 + 1 axes for each harmonic
        (lambda: flow_figure(fed(FlowAccumulator(FLOW))), 2 + 2 + 2 * 3),
        (lambda: flow_figure(fed(FlowAccumulator(FLOW), reference=False)), 2 + 2 * 3),
        (lambda: closure_figure(fed(ClosureAccumulator(n_bins=8)), ("particles",)), 6 * 2),
        (lambda: closure_figure(fed(ClosureAccumulator(n_bins=8)), ("maps",)), 4 * 2),
    ],
    ids=["w1", "w1 alone", "qclosure", "flow", "flow alone", "particles", "maps"],
)
def test_every_figure_is_drawn_and_written(tmp_path, figure, n_axes):
    made = figure()
    assert len(made.axes) == n_axes
    style.save_figure(made, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_a_sample_that_closes_by_construction_shows_no_correlation():
    made = qclosure_figure(fed(QClosureAccumulator(), reference=False))
    titles = [axes.get_title(loc="left") for axes in made.axes]
    assert titles.count("closes by construction") == 2


def test_the_contour_goes_around_the_core():
    rng = np.random.default_rng(0)
    edges = np.linspace(-3, 3, 7)
    entries = np.column_stack([rng.integers(0, 64, 5000), rng.normal(size=(5000, 2))])
    content = np.histogramdd(entries, [np.arange(65), edges, edges])[0]
    ratios = compare_maps(edges, edges, content, content)
    with style.house_style():
        figure = style.new_figure(3, 3)
        axes = figure.add_subplot()
        draw_ratio_map(figure, axes, ratios, "x", "y")
    outline = axes.collections[-1].get_segments()
    core = ratios.core
    border = sum(
        int(core[i, j]) * (not (0 <= a < 6 and 0 <= b < 6 and core[a, b]))
        for i in range(6)
        for j in range(6)
        for a, b in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1))
    )
    assert 0 < core.sum() < 36
    assert len(outline) == border


def test_curves_of_undefined_numbers_are_left_out():
    flat = FlowAccumulator(FlowOptions(harmonics=(4,), pairs=PairCuts(trigger_pt=2.0)))
    flat.add_sample(toy_events(40, 3))
    result = flat.result()
    made = flow_figure(result)
    for name, value in result.sample.value.items():
        if name == "v4_4" and not np.isfinite(value):
            labels = [t for axes in made.axes for t in axes.get_legend_handles_labels()[1]]
            assert not any("{4}" in label and "v_4" in label for label in labels)
