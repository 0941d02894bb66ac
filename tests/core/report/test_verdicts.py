"""Verdicts and gates: what the first table of a report says of a number."""

from pathlib import Path

import pytest

from hitools.core.compare.quantity import Gate, Quantity
from hitools.core.errors import InputError
from hitools.core.report.names import KEY_NUMBERS
from hitools.core.report.verdicts import key_rows, outcomes, read_gates

EXAMPLES = Path(__file__).parents[3] / "examples"


def verdict(name: str, value: float, error: float, floor: float, system="O-O", gates=()) -> str:
    quantities = [Quantity(name, value, error, floor)]
    (row,) = key_rows(quantities, outcomes([Gate.parse(g) for g in gates], quantities), system)
    return row.verdict


@pytest.mark.parametrize(
    ("value", "error", "floor", "expected"),
    [
        (0.001, 0.0001, 0.0011, "at the floor"),
        (0.0013, 0.0001, 0.0011, "at the floor"),  # two standard errors are granted
        (0.0014, 0.0001, 0.0011, "like the paper"),
        (0.0023, 0.0001, 0.0011, "like the paper"),
        (0.0024, 0.0001, 0.0011, "behind the paper"),
        (0.0024, 0.0001, 0.0030, "at the floor"),
    ],
)
def test_a_distance_is_judged_by_its_floor_then_by_the_paper(value, error, floor, expected):
    assert verdict("w1.part", value, error, floor) == expected


def test_numbers_have_their_own_direction():
    assert verdict("q.correlation", 0.995, 0.001, 1.0) == "like the paper"
    assert verdict("q.correlation", 0.95, 0.001, 1.0) == "behind the paper"
    assert verdict("closure.eta:pt.mean", 0.985, 0.001, 0.999) == "behind the paper"
    assert verdict("closure.eta:pt.mean", 0.991, 0.001, 0.999) == "like the paper"
    assert verdict("closure.eta:pt.mean", 1.001, 0.001, 0.999) == "at the floor"
    assert verdict("auc.event", 0.47, 0.01, 0.51) == "at the floor"
    assert verdict("auc.event", 0.6, 0.01, 0.51) == "behind the paper"
    # A floor that fell below chance does not make chance a difference.
    assert verdict("auc.event", 0.502, 0.002, 0.45) == "at the floor"
    assert verdict("jets.pt.within_10", 0.9985, 0.0001, 1.0) == "like the paper"


def test_without_a_value_of_the_paper_only_the_floor_speaks():
    assert verdict("w1.part", 0.0015, 0.0001, 0.0011, system="U-U") == "differs"
    assert verdict("w1.part", 0.0012, 0.0001, 0.0011, system=None) == "at the floor"
    assert verdict("flow.c2_2.pull", 9.0, 1.0, 0.8) == "differs"
    assert verdict("flow.c2_2.pull", 9.0, 1.0, float("nan")) == "no floor"


def test_what_has_no_value_is_not_judged():
    nan = float("nan")
    assert verdict("q.correlation", nan, nan, 1.0) == "closes by construction"
    assert verdict("jets.pt.within_10", nan, nan, 1.0) == "not defined"


def test_a_gate_decides_over_everything():
    assert verdict("auc.event", 0.6, 0.01, 0.51, gates=["auc.event<0.7"]) == "passes its gate"
    failing = verdict(
        "auc.event", 0.5, 0.01, 0.51, gates=["auc.event<0.4", "auc.event>0.3", "auc.event>0.9"]
    )
    assert failing == "FAILS <0.4 >0.9"


def test_gated_numbers_come_into_the_table_and_unknown_ones_do_not_hold():
    quantities = [Quantity("auc.event", 0.5), Quantity("w1.b", 0.1), Quantity("w1.n_coll", 0.1)]
    judged = outcomes([Gate.parse("w1.b<1"), Gate.parse("no.such>0")], quantities)
    assert [outcome.holds for outcome in judged] == [True, None]
    assert [row.quantity.name for row in key_rows(quantities, judged, "O-O")] == [
        "auc.event",
        "w1.b",
    ]


def test_gates_are_read_from_toml(tmp_path):
    path = tmp_path / "gates.toml"
    path.write_text("# ours\nrequire = [\n  'auc.event < 0.6',\n  'q.correlation >= 0.9',\n]\n")
    assert [str(gate) for gate in read_gates(path)] == ["auc.event<0.6", "q.correlation>=0.9"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("require = ['auc.event 0.6']", "'auc.event 0.6'"),
        ("require = [", "gates.toml"),
        ("require = []", "expected one list"),
        ("requires = ['a<1']", "expected one list"),
        ("require = 'a<1'", "expected one list"),
        ("require = ['a<b']", "'b' is not a number"),
    ],
)
def test_other_content_is_refused_by_name(tmp_path, content, words):
    path = tmp_path / "gates.toml"
    path.write_text(content)
    with pytest.raises(InputError) as error:
        read_gates(path)
    assert words in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "--require" not in str(error.value)


def test_a_missing_gate_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml"):
        read_gates(tmp_path / "none.toml")


def test_the_example_gates_are_the_paper_s_numbers():
    """Every number of the paper in the first table has its gate, and would itself pass it."""
    gates = read_gates(EXAMPLES / "gates-paper.toml")
    paper = [
        Quantity(name, value)
        for key in KEY_NUMBERS
        if (value := key.paper_value("O-O")) is not None
        for name in (
            ["q.correlation.x", "q.correlation.y"]
            if key.quantity == "q.correlation"
            else [key.quantity]
        )
    ]
    limited = {gate.name for gate in gates}
    assert {quantity.name for quantity in paper} <= limited
    strict = {"w1.part"}  # the paper's own value is the limit
    for gate in gates:
        if gate.name in {q.name for q in paper} - strict:
            assert gate.holds(paper), gate
