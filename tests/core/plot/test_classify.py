"""The classifier figure says what the result says."""

import numpy as np
import pytest

from hitools.core.compare.classify.training import TrainingOptions
from hitools.core.compare.classify.two_sample import ClassifyAccumulator, ClassifyOptions
from hitools.core.plot.classify import classify_figure
from hitools.core.plot.style import save_figure
from tests.core.toys import toy_events


@pytest.fixture(scope="module")
def result():
    training = TrainingOptions(device="cpu", max_epochs=2)
    test = ClassifyAccumulator(
        ClassifyOptions(classifiers=("event", "deepsets"), n_seeds=2, training=training)
    )
    test.add_reference(toy_events(400, 1, mean_particles=8, weighted=True))
    test.add_sample(toy_events(300, 2, mean_particles=8))
    return test.result()


def test_curves_legends_and_weights_are_those_of_the_result(result, tmp_path):
    figure = classify_figure(result, ("real", "made"))
    save_figure(figure, tmp_path / "classify.pdf")
    for verdict in result.classifiers:
        titles = {"event": "event features, MLP", "deepsets": "particles, Deep Sets"}
        upper = next(a for a in figure.axes if a.get_title() == titles[verdict.name])
        labels = [text.get_text() for text in upper.get_legend().get_texts()]
        value, error = verdict.observed.statistics["auc"]
        assert f"AUC {value:.3f}" in labels[0]
        assert f"{error:.3f}" in labels[0]
        assert labels[1].startswith("floor")
        assert upper.get_ylabel() == "share of real kept"
        # The area under the drawn curve is the AUC in the legend.
        x, y = next(line for line in upper.lines if line.get_label() == labels[0]).get_data()
        assert np.trapezoid(y, x) == pytest.approx(value, abs=5e-3)


def test_the_band_of_chance_holds_the_floor_of_a_toy(result):
    """At 2 sigma nearly all of a curve that is pure chance lies inside."""
    figure = classify_figure(result)
    lower = [a for a in figure.axes if a.get_ylabel() == "above chance"]
    assert len(lower) == 2
    for axes in lower:
        wide = axes.collections[0].get_paths()[0].vertices
        assert wide[:, 1].max() == pytest.approx(-wide[:, 1].min())
        assert 0.05 < wide[:, 1].max() < 0.4


def test_weights_of_both_samples_fill_the_histograms(result):
    figure = classify_figure(result)
    axes = [a for a in figure.axes if a.get_ylabel() == "share of events"]
    for a in axes:
        for stairs in a.patches[1:3]:
            assert stairs.get_data().values.sum() == pytest.approx(1)
