"""The page: one file, escaped, with every number and figure in it."""

import base64
import html
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from hitools.core.compare.quantity import Gate, Quantity
from hitools.core.format.meta import EventMeta, Selection
from hitools.core.plot.style import house_style, new_figure
from hitools.core.report.checks import Section
from hitools.core.report.page import InputSummary, embedded, page, with_error
from hitools.core.report.verdicts import key_rows, outcomes


def figure(n_points: int = 10):
    with house_style():
        made = new_figure(3, 2)
        made.add_subplot().plot(np.random.default_rng(0).uniform(size=n_points), ".")
    return made


@pytest.fixture
def made() -> str:
    quantities = (Quantity("w1.part", 0.003, 0.0002, 0.001), Quantity("w1.b", 0.5, unit="fm"))
    judged = outcomes([Gate.parse("w1.part<0.001"), Gate.parse("w1.b<1")], quantities)
    meta = EventMeta("O-O", 5360.0, Selection())
    inputs = [
        InputSummary("reference", "<ref>&.h5", 1000, 190_000, meta),
        InputSummary("sample", "gen.h5", 900, 170_000, EventMeta()),
    ]
    section = Section("w1", quantities, ("5 < 6 & so on.",), {"w1": figure()})
    rows = key_rows(quantities, judged, "O-O")
    return page(inputs, rows, judged, [section, Section("flow", ())], "hi-report")


class _Balance(HTMLParser):
    """Every tag that opens closes, in order."""

    VOID = frozenset({"meta", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):  # noqa: ARG002
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed(made):
    parser = _Balance()
    parser.feed(made)
    parser.close()
    assert parser.open == []
    assert made.startswith("<!DOCTYPE html>")


def test_nothing_is_fetched_and_nothing_runs(made):
    assert "<script" not in made
    assert not re.search(r"(src|href)=\"(?!data:)", made)
    assert "http" not in re.sub(r"base64,[^\"]*", "", made)


def test_names_and_remarks_are_text_not_markup(made):
    assert "<ref>" not in made
    assert html.escape("<ref>&.h5") in made
    assert "5 &lt; 6 &amp; so on." in made


def test_the_first_table_has_value_error_floor_paper_and_verdict(made):
    line = next(line for line in made.splitlines() if "W1, mean of pT" in line)
    cells = [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td.*?</td>", line)]
    assert cells[1:] == [
        "0.00300 ± 0.00020",
        "0.001",
        "0.00218",
        "✗ FAILS <0.001".replace("<", "&lt;"),
    ]
    assert "1 of 2 gates fail: w1.part&lt;0.001 (value 0.003)" in made
    assert "paper, O-O" in made


def test_figures_are_inside_and_large_ones_are_pixels(made):
    address = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', made)
    assert b"<svg" in base64.b64decode(address[1])
    large = embedded(figure(30_000))
    assert large.startswith("data:image/png;base64,")
    assert base64.b64decode(large.partition(",")[2]).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (0.50712, 0.0123, "0.507 ± 0.012"),
        (393.8, 14.56, "394 ± 15"),
        (12345.6, 678.9, "1.23e+04 ± 6.8e+02"),
        (9.354e-4, 1.443e-4, "0.00094 ± 0.00014"),
        (3.2e-9, 1e-10, "3.2e-09 ± 1e-10"),
        (0.25, float("nan"), "0.25"),
        (1.0, 0.0, "1"),
        (float("nan"), 0.1, "–"),
    ],
)
def test_numbers_show_two_digits_of_their_error(value, error, expected):
    assert with_error(value, error) == expected
