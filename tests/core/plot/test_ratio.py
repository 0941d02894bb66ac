"""The ratio figure: every format, reproducible bytes, legible without colour."""

from pathlib import Path

import numpy as np
import pytest

from hitools.core.errors import InputError
from hitools.core.plot import style
from hitools.core.plot.ratio import RatioPanel, ratio_figure


def _panel(**options: object) -> RatioPanel:
    edges = np.geomspace(0.15, 20, 31)
    reference = np.exp(-(edges[:-1] ** 0.5) * 4)
    sample = reference * np.linspace(0.9, 1.8, 30)
    return RatioPanel("$p_T$", edges, reference, reference / 20, sample, sample / 15, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", style.FORMATS)
def test_the_same_figure_gives_the_same_bytes(tmp_path: Path, ending: str) -> None:
    for name in ("a", "b"):
        style.save_figure(ratio_figure([_panel(log_x=True)] * 2), tmp_path / f"{name}.{ending}")
    first = (tmp_path / f"a.{ending}").read_bytes()
    assert first == (tmp_path / f"b.{ending}").read_bytes()
    assert len(first) > 5000


def test_steep_spectra_get_a_logarithmic_axis_and_far_ratios_a_marker() -> None:
    figure = ratio_figure([_panel(log_x=True)])
    lower, upper = figure.axes
    assert upper.get_yscale() == "log"
    assert lower.get_ylim() == (0.5, 1.5)
    above = [line for line in lower.lines if line.get_marker() == "^"]
    assert len(above[0].get_xdata()) > 0  # type: ignore[arg-type]


def test_reference_and_sample_differ_in_grey() -> None:
    def lightness(colour: str) -> float:
        red, green, blue = (int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue

    for one, other in zip(style.COLOURS, style.COLOURS[1:], strict=False):
        assert abs(lightness(one) - lightness(other)) > 0.1


def test_a_figure_without_sample_is_drawn() -> None:
    edges = np.linspace(0, 1, 11)
    panel = RatioPanel("x", edges, np.zeros(10), np.zeros(10))
    assert len(ratio_figure([panel]).axes) == 2


@pytest.mark.parametrize("name", ["figure.gif", "figure", "missing/figure.pdf"])
def test_a_name_that_no_figure_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        style.check_figure_path(tmp_path / name)
