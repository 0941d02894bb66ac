"""Whole trainings, small: continuing bit for bit, stopping well, keeping what is best."""

import contextlib
import json
from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest
import torch

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.format.meta import EventMeta, Selection
from hitools.core.model.folder import ModelFolder
from hitools.core.nets.config import NetConfig
from hitools.core.nets.networks import config_to_dict
from hitools.core.nets.rotary_config import RotaryConfig
from hitools.core.training.options import PRESETS, TrainingOptions, differences
from hitools.core.training.start import Sources, Start, prepared
from hitools.core.training.step import Objective

META = EventMeta(system="O-O", sqrt_s_nn_gev=5360.0, selection=Selection())
OPTIONS = TrainingOptions(
    network=NetConfig(width=8, n_heads=2, n_blocks=1, n_head_blocks=1, n_neighbours=3),
    log_columns=("pt", "n_particles"),
    optimiser="adamw",
    rate=3e-3,
    warmup_epochs=0.5,
    epochs=3,
    batch=5,
    validation_fraction=0.25,
    save_seconds=0,
    ema=0.9,
)


class Killed(Exception):  # noqa: N818
    """Stands for the end of the process between two steps."""


@pytest.fixture
def few(oo) -> EventBatch:
    return oo.take(np.flatnonzero((oo.n_particles > 0) & (oo.n_particles < 60))[:20])


def train(events, path, options=OPTIONS, stop_after=None, start=None, is_stream=False, then=None):
    """Train in a folder; optionally be killed after so many steps of this start."""
    sources = Sources(
        events.split(max_particles=500) if isinstance(events, EventBatch) else events,
        then,
        is_stream,
        lambda: META,
    )
    with prepared(options, sources, start or Start(), path, lambda meta: meta) as run:

        def report(now) -> None:
            if stop_after is not None and now.step - run.first_step >= stop_after:
                raise Killed

        with contextlib.suppress(Killed):
            run.trainer.run(report)
    return ModelFolder(path)


def same_weights(one: ModelFolder, other: ModelFolder) -> bool:
    first, second = one.read_weights(), other.read_weights()
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


ROTARY = replace(
    PRESETS["rotary"],
    network=RotaryConfig(16, 1, 24, n_blocks=2, n_feedbacks=1, event_width=16, slice_width=16),
    epochs=3,
    batch=5,
    validation_fraction=0.25,
    save_seconds=0,
)


@pytest.mark.parametrize(
    "options",
    [
        replace(OPTIONS, optimiser="lion", psi_weight=0.1),
        replace(OPTIONS, psi_weight=0.1),
        replace(ROTARY, psi_weight=0.1),
    ],
    ids=["lion", "adamw", "rotary"],
)
def test_a_run_that_was_stopped_again_and_again_ends_with_the_bits_of_one_that_was_not(
    few, tmp_path, options
):
    whole = train(few, tmp_path / "whole", options)
    for _ in range(5):
        pieces = train(few, tmp_path / "pieces", options, stop_after=2)
    assert pieces.read_state()[1]["step"] == 9
    assert same_weights(pieces, whole)
    for name, tensor in whole.read_state()[0].items():
        assert torch.equal(pieces.read_state()[0][name], tensor), name
    # Times differ, losses do not.
    for mine, theirs in zip(pieces.read_metrics(), whole.read_metrics(), strict=True):
        for kind in ("training", "validation", "gradient_norm", "rate", "best"):
            assert mine[kind] == theirs[kind]


def test_training_learns_and_keeps_the_average_of_the_best_epoch(few, tmp_path):
    folder = train(few, tmp_path / "model", replace(OPTIONS, epochs=8))
    metrics = folder.read_metrics()
    assert [line["epoch"] for line in metrics] == list(range(1, 9))
    losses = [line["validation"]["total"] for line in metrics]
    assert losses[-1] < 0.9 * losses[0]
    assert [line["best"] for line in metrics] == [
        loss == min(losses[: k + 1]) for k, loss in enumerate(losses)
    ]
    tensors, _ = folder.read_state()
    if metrics[-1]["best"]:
        for name, weight in folder.read_weights().items():
            assert torch.equal(weight, tensors[f"average.{name}"])
    assert all(0 <= line["waiting_fraction"] < 1 for line in metrics)


@pytest.mark.parametrize("is_stream", [False, True])
def test_particles_learn_at_the_times_of_the_sampler_and_are_judged_at_even_ones(
    few, tmp_path, monkeypatch, is_stream
):
    seen = {True: [], False: []}
    add = Objective.add

    def watched(self, model, step, budget, sums, *, train):
        seen[train].append(step)
        add(self, model, step, budget, sums, train=train)

    monkeypatch.setattr(Objective, "add", watched)
    options = replace(
        OPTIONS,
        sampler_times=0.8,
        solver_steps=3,
        solver_small_steps=4,
        solver_grid="power",
        epoch_steps=2,
        steps=2 if is_stream else 9,
        scaling_events=10,
    )
    train(few, tmp_path / "model", options, is_stream=is_stream)
    learnt = np.concatenate([step.particle_t for step in seen[True]])
    of_vectors = np.concatenate([step.t for step in seen[True]])
    grid = np.float32([1, 4, 9]) / 16  # of small events, which all of these are
    assert np.isin(learnt, grid).mean() > 0.6
    assert not np.isin(of_vectors, grid).any()
    for step in seen[False]:
        np.testing.assert_array_equal(step.particle_t, step.t)


def test_stage_two_of_the_rotary_network_takes_the_weights_and_the_new_maps(few, oo, tmp_path):
    first = train(few, tmp_path / "first", ROTARY, stop_after=4)
    other = oo.take(np.flatnonzero(oo.n_particles > 150)[:20])
    options = replace(ROTARY, rate=1e-12)
    second = train(other, tmp_path / "second", options, start=Start(first, "recompute"))
    assert second.read_config().representation != first.read_config().representation
    for name, weight in first.read_weights().items():
        torch.testing.assert_close(second.read_weights()[name], weight, rtol=0, atol=1e-6)
    kept = train(other, tmp_path / "kept", options, start=Start(first, "keep"))
    mine, theirs = (one.read_config().representation for one in (kept, first))
    assert mine.pt == theirs.pt
    assert mine.vector.limits["n_particles"][1] == other.n_particles.max()


def test_stage_two_keeps_the_kind_of_its_model(few, tmp_path):
    """The paper's network has no part for the loss on sums: said before the first step."""
    first = train(few, tmp_path / "first", OPTIONS, stop_after=4)
    with pytest.raises(InputError, match="take --preset paper, or --sums-loss 0"):
        train(few, tmp_path / "second", ROTARY, start=Start(first))
    second = train(few, tmp_path / "third", replace(ROTARY, sums_weight=0.0), start=Start(first))
    assert second.read_config().network == first.read_config().network
    assert second.read_config().representation.name == "standardised"


def test_the_average_follows_its_definition(few, tmp_path):
    """Average of weights after two steps, from the weights after each."""
    options = replace(OPTIONS, ema=0.7, steps=100)
    folder = ModelFolder(tmp_path / "model")
    train(few, folder.path, options, stop_after=1)
    first = folder.read_state()[0]
    train(few, folder.path, options, stop_after=1)
    second = folder.read_state()[0]
    for name in folder.read_state()[0]:
        if name.startswith("weights."):
            average = name.replace("weights.", "average.", 1)
            expected = 0.7 * first[average] + 0.3 * second[name]
            torch.testing.assert_close(second[average], expected, rtol=1e-5, atol=1e-7)


def test_config_holds_every_number_and_the_model_works_without_the_data(few, tmp_path):
    folder = train(few, tmp_path / "model", stop_after=3)
    values = json.loads(folder.config_path.read_text())
    assert values["training"] == OPTIONS.to_dict()
    assert values["network"] == config_to_dict(OPTIONS.network)
    assert values["system"] == "O-O"
    assert values["data"]["n_train"] == 15
    assert set(values["versions"]) == {"hitools", "torch", "accelerate", "numpy"}
    model, config = folder.read_model()
    assert config.meta.selection == Selection()
    assert config.representation.to_dict() == values["representation"]
    assert model.event_velocity(torch.zeros(2, 11), torch.zeros(2)).shape == (2, 11)


def test_scaling_is_measured_on_training_events_alone(few, tmp_path):
    shifted = EventBatch(few.events + 100, few.particles, few.offsets)
    plain = train(few, tmp_path / "a", stop_after=1, then=few.split(max_particles=500))
    other = train(few, tmp_path / "b", stop_after=1, then=shifted.split(max_particles=500))
    assert plain.read_config().representation == other.read_config().representation


def test_spectra_are_set_right_with_training_events_from_all_parts_of_the_data(few, tmp_path):
    """15 of 20 events are trained on; where more are asked for, there are none."""

    def places(n_events: int) -> list[int]:
        sources = Sources(few.split(max_particles=500), None, False, lambda: META)
        options = replace(ROTARY, calibration_events=n_events)
        with prepared(options, sources, Start(), tmp_path / str(n_events), lambda m: m) as run:
            events = run.calibration.events
        return [int(np.flatnonzero((few.events == row).all(axis=1))[0]) for row in events]

    trained_on = places(15)
    assert len(set(trained_on)) == 15
    some = places(5)
    assert some == trained_on[::3]
    assert places(16) == places(0) == []


def test_data_on_disk_train_like_data_in_memory(few, tmp_path):
    memory = train(few, tmp_path / "memory")
    disk = train(few, tmp_path / "disk", replace(OPTIONS, memory_gb=0))
    assert same_weights(memory, disk)
    assert not list((tmp_path / "disk" / "state").glob("data-*"))


def test_other_options_or_other_events_do_not_continue_a_run(few, tmp_path):
    train(few, tmp_path / "model", stop_after=3)
    with pytest.raises(InputError, match=r"rate 0\.003 then, 0\.002 now.*another folder"):
        train(few, tmp_path / "model", replace(OPTIONS, rate=2e-3))
    with pytest.raises(InputError, match="other events"):
        train(few[:19], tmp_path / "model")
    with pytest.raises(InputError, match="another network"):
        train(few, tmp_path / "model", replace(OPTIONS, network=NetConfig(width=16)))
    # What moves nothing but roundings may change.
    train(few, tmp_path / "model", replace(OPTIONS, budget=100, save_seconds=9), stop_after=1)


def test_half_the_batch_in_two_processes_is_the_same_run():
    one = replace(OPTIONS, batch=64, processes=1)
    assert differences(replace(one, batch=32, processes=2), one.to_dict()) == []
    assert differences(replace(one, processes=2), one.to_dict()) == ["batch 64 then, 128 now"]


def test_two_runs_never_write_one_folder(few, tmp_path):
    folder = ModelFolder(tmp_path / "model")
    with folder.locked(), pytest.raises(InputError, match="another hi-train is writing"):
        train(few, folder.path)
    train(few, folder.path, stop_after=1)  # the lock has ended with its holder


def test_a_folder_with_other_things_is_left_alone(few, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="exists and is no model folder"):
        train(few, tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run_and_spoils_nothing(few, tmp_path):
    folder = train(few, tmp_path / "model", stop_after=4)
    _, progress = folder.read_state()
    tensors = folder.read_weights()
    state = folder.read_state()[0]
    poisoned = state | {"weights.head.out.bias": torch.full((6,), torch.nan)}
    folder.write_state(poisoned, progress)
    with pytest.raises(InputError, match="no longer finite at step 5; the weights of epoch 1"):
        train(few, tmp_path / "model")
    assert all(torch.equal(value, tensors[name]) for name, value in folder.read_weights().items())
    assert folder.read_state()[1]["step"] == 4


def test_a_validation_loss_that_is_not_finite_stops_the_run_too(few, tmp_path):
    """The average of the weights can be spoilt while the weights are not."""
    folder = train(few, tmp_path / "model", stop_after=4)
    state, progress = folder.read_state()
    folder.write_state(state | {"average.head.out.bias": torch.full((6,), torch.nan)}, progress)
    metrics = folder.read_metrics()
    with pytest.raises(InputError, match="no longer finite at step 6; the weights of epoch 1"):
        train(few, tmp_path / "model")
    assert folder.read_metrics() == metrics
    assert folder.read_state()[1]["step"] == 5


def test_stage_2_begins_with_the_weights_of_another_model(few, oo, tmp_path):
    first = train(few, tmp_path / "first")
    more = EventBatch.concatenate([few, oo.take(np.flatnonzero(oo.n_particles > 500))])
    options = replace(OPTIONS, rate=1e-9, ema=0.0, network=NetConfig())
    for scaling in ("recompute", "keep"):
        second = train(more, tmp_path / scaling, options, stop_after=4, start=Start(first, scaling))
        config = second.read_config()
        assert config.network == OPTIONS.network
        for name, weight in second.read_weights().items():
            torch.testing.assert_close(weight, first.read_weights()[name], rtol=0, atol=1e-6)
        kept = config.representation.events.mean == first.read_config().representation.events.mean
        assert kept == (scaling == "keep")
        assert config.representation.events.high[-1] > 500  # limits are of the new events


def test_a_stream_trains_on_fresh_events(few, tmp_path):
    options = replace(OPTIONS, steps=2, epoch_steps=1, scaling_events=10)
    folder = train(few, tmp_path / "model", options, is_stream=True)
    assert [line["step"] for line in folder.read_metrics()] == [1, 2]
    assert folder.read_config().data["stream"] is True
    assert folder.read_config().data["n_validation"] == 10


def test_a_stream_that_ends_early_is_told_and_what_was_learnt_is_kept(few, tmp_path):
    options = replace(OPTIONS, steps=50, scaling_events=10)
    with pytest.raises(InputError, match="ended after 2 of 50 steps"):
        train(few, tmp_path / "model", options, is_stream=True)
    folder = ModelFolder(tmp_path / "model")
    assert folder.read_state()[1]["step"] == 2
    assert folder.read_weights()
    with pytest.raises(InputError, match="20 events short of the 40"):
        train(few, tmp_path / "other", replace(options, scaling_events=40), is_stream=True)


def test_bf16_follows_float32_nearly(few, tmp_path):
    full = train(few, tmp_path / "full").read_metrics()[-1]["validation"]["total"]
    half = train(few, tmp_path / "half", replace(OPTIONS, precision="bf16"))
    assert half.read_metrics()[-1]["validation"]["total"] == pytest.approx(full, rel=0.02)
    assert all(weight.dtype == torch.float32 for weight in half.read_weights().values())


def test_the_paper_preset_is_the_paper():
    paper = PRESETS["paper"]
    assert (paper.optimiser, paper.betas, paper.weight_decay) == ("lion", (0.95, 0.99), 0.0)
    assert (paper.rate, paper.warmup_epochs, paper.epochs, paper.steps) == (3e-5, 3, 75, None)
    assert (paper.batch, paper.clip, paper.ema) == (64, 1.0, 0.999)
    assert paper.network == NetConfig()
    assert paper.representation == "standardised"
    assert paper.log_columns == ()
    assert paper.psi_weight == 0


@pytest.mark.parametrize(
    "change",
    [
        *({"rate": 0.0}, {"batch": 0}, {"ema": 1.0}, {"optimiser": "sgd"}, {"epochs": 0}),
        *({"betas": (2.0, 2.0)}, {"betas": (0.9, nan)}, {"memory_gb": -1.0}, {"memory_gb": 1e300}),
        {"warmup_epochs": 1e308},
        *(
            {name: value}
            for name in (
                *("rate", "weight_decay", "warmup_epochs", "clip", "ema", "psi_weight"),
                *("sums_weight", "hardness", "save_seconds", "memory_gb", "validation_fraction"),
            )
            for value in (nan, inf, -1.0)
        ),
    ],
)
def test_options_that_cannot_train_are_refused(change):
    with pytest.raises(InputError, match="out of range"):
        replace(OPTIONS, **change)
