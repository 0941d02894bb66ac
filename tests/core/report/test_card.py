"""The card of a model holds what was recorded and measured, and every goal that is missed."""

import pytest

from hitools.core.format.meta import EventMeta, Selection
from hitools.core.format.provenance import make_step
from hitools.core.model.folder import ModelConfig, ModelFolder
from hitools.core.model.shipped import CARD, summarise
from hitools.core.nets.config import NetConfig
from hitools.core.report.card import card
from hitools.core.report.scorecard import Column, Number
from hitools.core.scaling import Standardised
from hitools.core.training.options import PRESETS

STAGES = [("stage-1", 90.0, 500), ("stage-2", 210.0, 2000)]


@pytest.fixture
def folder(tmp_path, oo):
    folder = ModelFolder(tmp_path / "oo-toy")
    steps = ()
    for words, seed in (("hi-mc -n 9 --seed 7 -o a.h5", 7), ("hi-train a.h5 -o stage-2", 3)):
        steps += (make_step(steps, words.split()[0], "0.1.0", words, seed, "2026-01-01T00:00:00Z"),)
    with folder.locked():
        folder.write_config(
            ModelConfig(
                network=NetConfig(width=8, n_heads=2, n_blocks=1, n_head_blocks=1),
                representation=Standardised.fit([oo], eta_max=2.5),
                meta=EventMeta("O-O", 5360.0, Selection(), "particles", steps),
                training=PRESETS["quick"].to_dict()
                | {"seed": 3, "steps": 321, "batch": 600, "processes": 2},
                data={"n_train": 1900, "n_validation": 100, "n_particles": 380_000},
                sampling={"solver": "ab2", "steps": 16},
            )
        )
    return folder


def scores():
    found = {"q.rms.x": Number(2.5, 0.1, 0.0), "auc.event": Number(0.503, 0.004, 0.5, "p = 0.3")}
    return {
        "events": {"reference": 20_000, "sample": 25_000},
        "rows": Column("oo-toy", found).rows(),
        "remarks": ["Known of the reference."],
        "commands": ["hi-report reference.h5 sample.h5"],
    }


def test_everything_that_made_the_model_is_in_its_card(folder):
    text = card("oo-toy", folder, scores(), made_by="make.sh --minutes 5", stages=STAGES)
    for words in (
        "make.sh --minutes 5",
        "trained for 5.0 minutes",
        "1,900 events with 380,000 particles",
        "`hi-mc -n 9 --seed 7 -o a.h5` (hi-mc 0.1.0, 2026-01-01T00:00:00Z, seed 7)",
        "`hi-train a.h5 -o stage-2`",
        "seed 3, 321 steps of 1,200 events",
        "stage-2: 3.5 minutes, 2,000 events",
        "25,000 events of the model against 20,000 real ones",
        "| AUC, event MLP | about 0.5 | <= 0.51 | 0.5030 ± 0.0040 (p = 0.3) | 0.5 | yes |",
        "| AUC, transformer | not tried | <= 0.6 | – | – | not measured |",
        "Known of the reference.",
        "hi-report reference.h5 sample.h5",
    ):
        assert words in text


def test_missed_goals_are_known_failures_and_notes_follow(folder):
    text = card("oo-toy", folder, scores(), made_by="make.sh", stages=STAGES, notes="No jets.\n")
    failures = text.partition("## Known failures")[2]
    assert "- RMS of Q_x: 2.5, <= 0.7" in failures
    assert "AUC" not in failures
    assert failures.endswith("No jets.\n")


def test_a_card_without_measurements_says_so(folder):
    text = card("oo-toy", folder, None, made_by="make.sh", stages=[])
    assert "Nothing was measured yet." in text
    assert "Not measured yet." in text


def test_a_table_without_numbers_is_no_table_of_goals_reached(folder):
    empty = scores() | {"rows": Column("oo-toy", {}).rows()}
    text = card("oo-toy", folder, empty, made_by="make.sh", stages=STAGES)
    assert text.endswith("## Known failures\n\nNot measured yet.\n")


def test_the_list_of_models_shows_the_card_s_first_sentence(folder):
    text = card("oo-toy", folder, None, made_by="make.sh", stages=STAGES)
    (folder.path / CARD).write_text(text)
    description = summarise(folder).description
    assert description.startswith("Minimum-bias O-O, 5360 GeV, charged, |eta| < 2.5; ")
    assert description.endswith("trained for 5.0 minutes.")
