"""The table of goals: what counts as reached, what as missed, and what cannot be told."""

import math

import pytest

from hitools.core.report.scorecard import AIMS, Aim, Column, Number, largest_pull, markdown, numbers

LOW = Aim("rms", "RMS", "1.14", "at most", 0.7)
HIGH = Aim("correlation", "correlation", "0.99", "at least", 0.995)
NEAR = Aim("score", "score", "1.02", "near one", 0.01)
FLOORS = Aim("w1", "W1", "2.18e-3", "floors", 1.3)


@pytest.mark.parametrize(
    ("aim", "found", "verdict"),
    [
        (LOW, Number(0.7), "yes"),
        (LOW, Number(0.71), "no"),
        (HIGH, Number(0.995), "yes"),
        (HIGH, Number(0.99), "no"),
        (NEAR, Number(0.992), "yes"),
        (NEAR, Number(1.02, 0.001, 1.001), "no"),
        (FLOORS, Number(1.2e-3, 1e-4, 1e-3), "yes"),
        (FLOORS, Number(1.4e-3, 1e-4, 1e-3), "no"),
        (FLOORS, Number(1.4e-3, 1e-3, 1e-3), "no"),
        (LOW, Number(math.nan), "not measured"),
        (LOW, Number(math.inf), "no"),
        # Two halves of the real events miss it, too, and this is no worse than chance makes it.
        (NEAR, Number(1.02, 0.01, 1.03), "cannot be told"),
        (NEAR, Number(1.05, 0.01, 1.03), "no"),
        (NEAR, Number(1.02, 0.01, 1.005), "no"),
        # Reached, but these events would not have shown that it is not.
        (HIGH, Number(1.0, unresolved="too few"), "cannot be told"),
        (HIGH, Number(0.9, unresolved="too few"), "no"),
    ],
)
def test_verdicts(aim, found, verdict):
    assert aim.verdict(found) == verdict


def quantity(name, value, error=None, floor=None):
    return {"name": name, "value": value, "error": error, "floor": floor, "unit": "1"}


def flow(values, reference, n_events=(20_000, 20_000)):
    stem = "flow.v2_sp.resolution"
    listed = [(".pull", 1.5), ("", 0.06), (".reference", 0.05)]
    return {
        "n_events": list(n_events),
        "quantities": [quantity(stem + end, value, 0.01) for end, value in listed],
        "curves": {"v2_sp": {"value": values, "error": [0.01] * len(values)}},
        "reference_curves": {"v2_sp": {"value": reference, "error": [0.0] * len(values)}},
    }


def report(n_jets=(70_000, 68_000)):
    return {
        "quantities": [
            quantity("w1.part", 9e-4, 1e-4, 8e-4),
            quantity("auc.event", 0.505, 0.004, 0.5),
            quantity("p_value.event", 0.12),
            quantity("jets.pt.within_10", 1.0, 0.1, 1.0),
        ],
        "sections": {"jets": {"n_jets": list(n_jets)}},
    }


def test_the_largest_pull_of_v2_is_over_all_bins_that_the_reference_has():
    assert largest_pull(flow([0.1, 0.13, 5.0], [0.1, 0.1, None])) == (pytest.approx(3.0), 2)
    assert largest_pull(flow([0.1, None], [0.1, 0.1])) == (math.inf, 0)
    assert math.isnan(largest_pull(flow([0.1], [None]))[0])


def test_numbers_are_taken_from_what_the_commands_wrote():
    cost = {
        "device": "cuda",
        "device_name": "a GPU",
        "ms_per_event": 0.8,
        "ms_per_event_error": 0.01,
        "together": 16,
        "together_in_hi_sample": 4096,
        "evaluations": 16,
        "event_evaluations": 64,
        "solver": "ab2, 16 steps",
    }
    halves = flow([0.1, 0.12], [0.1, 0.1])
    found = numbers(report(), flow([0.1, 0.13], [0.1, 0.1]), halves, costs=[cost])
    assert found["auc.event"].note == "p = 0.12"
    assert found["v2_sp"].value == pytest.approx(3.0)
    assert found["v2_sp"].floor == pytest.approx(2.0)
    assert found["resolution"].value == 1.5
    assert "0.060 ± 0.010, real 0.050 ± 0.010" in found["resolution"].note
    assert (found["cuda"].value, found["evaluations"].value) == (0.8, 16)
    assert "cpu" not in found
    assert found["cuda"].note.endswith(", in blocks of 16")
    aims = {aim.key: aim for aim in AIMS}
    assert aims["cuda"].verdict(found["cuda"]) == "yes"


def test_closure_is_judged_before_corrections():
    closure = {"quantities": [quantity("q.rms.x", 0.9, 0.01), quantity("q.other", 3.0)]}
    after = {"quantities": [quantity("q.rms.x", 0.02, 0.001)], "sections": {}}
    found = numbers(after, uncorrected=closure)
    assert found == {"q.rms.x": Number(0.9, 0.01, note="0.0200 ± 0.0010 after corrections")}
    assert numbers(after)["q.rms.x"].value == 0.02
    assert numbers(uncorrected=closure)["q.rms.x"] == Number(0.9, 0.01)


def test_goals_for_many_events_are_not_claimed_with_few():
    aims = {aim.key: aim for aim in AIMS}
    few = numbers(report(), flow([0.1], [0.1]))
    many = numbers(report((400_000, 420_000)), flow([0.1], [0.1], (100_000, 100_000)))
    for key, at_few in (("w1.part.large", "not measured"), ("jets.pt.within_10", "cannot be told")):
        assert aims[key].verdict(few[key]) == at_few
        assert aims[key].verdict(many[key]) == "yes"


def test_the_table_has_every_goal_and_models_side_by_side():
    found = numbers(report(), flow([0.1], [0.1]))
    lines = markdown([Column("ours", found), Column("paper", {})]).splitlines()
    assert len(lines) == 2 + len(AIMS)
    assert "ours: measured" in lines[0]
    assert "paper: reached" in lines[0]
    row = next(line for line in lines if line.startswith("| AUC, event MLP"))
    assert "0.5050 ± 0.0040 (p = 0.12) | 0.5 | yes | – | – | not measured |" in row
    rows = Column("ours", found).rows()
    assert [row["name"] for row in rows] == [aim.key for aim in AIMS]
    assert next(row for row in rows if row["name"] == "auc.event")["reached"] == "yes"
    assert next(row for row in rows if row["name"] == "auc.transformer")["value"] is None
