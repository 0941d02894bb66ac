"""A model on disk: read back exactly, refused clearly, locked against a second writer."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hitools.core.errors import InputError
from hitools.core.format.meta import EventMeta, Selection
from hitools.core.format.provenance import make_step
from hitools.core.model.first_velocity import FirstVelocity
from hitools.core.model.folder import ModelConfig, ModelFolder
from hitools.core.nets.config import NetConfig
from hitools.core.nets.model import Denoiser
from hitools.core.scaling import Standardised

TINY = NetConfig(width=8, n_heads=2, n_blocks=1, n_head_blocks=1)
EPOCH = {"step": 10, "training": {"total": 2.0}, "validation": {"total": 2.5}, "best": True}


@pytest.fixture
def config(oo) -> ModelConfig:
    step = make_step((), "hi-train", "0.1.0", "hi-train oo.h5 -o m", 1, "2026-01-01T00:00:00Z")
    return ModelConfig(
        network=TINY,
        representation=Standardised.fit([oo], log_columns=("pt",), eta_max=2.5),
        meta=EventMeta("O-O", 5360.0, Selection(pt_min=0.15), "particles", (step,)),
        training={"rate": 1e-3, "psi_weight": 0.1},
        data={"n_train": 3},
        sampling={"solver": "ab2", "steps": 16},
        first_velocity=FirstVelocity(11, ((0.5, -1.25e-7, 0, 1, 2, 3),) * 24),
    )


@pytest.fixture
def folder(tmp_path, config) -> ModelFolder:
    folder = ModelFolder(tmp_path / "model")
    with folder.locked():
        folder.write_config(config)
        folder.write_weights(Denoiser(TINY).state_dict())
    return folder


def test_a_model_comes_back_as_it_was_written(folder, config):
    assert folder.read_config() == config
    torch.manual_seed(1)
    model = Denoiser(TINY)
    folder.write_weights(model.state_dict())
    again, _ = folder.read_model()
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_what_nobody_said_stays_unknown(folder, config):
    unknown = ModelConfig(**{**config.__dict__, "meta": EventMeta()})
    folder.write_config(unknown)
    meta = folder.read_config().meta
    assert (meta.system, meta.selection) == (None, None)
    assert np.isnan(meta.sqrt_s_nn_gev)


def test_state_and_metrics_come_back_as_they_were_written(folder):
    assert folder.read_state() is None
    assert folder.read_metrics() == []
    tensors = {"a.b": torch.randn(3, 2), "steps": torch.tensor(4.0)}
    progress = {"step": 3, "sums": [0.1, 1 / 3], "best": None}
    folder.write_state(tensors, progress)
    found, read = folder.read_state()
    assert read == progress
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    epochs = [EPOCH, EPOCH | {"step": 20, "best": False}]
    folder.write_metrics(epochs)
    assert folder.read_metrics() == epochs


def test_no_file_of_a_model_is_a_pickle(folder):
    folder.write_state({"a": torch.zeros(2)}, {})
    kinds = {path.suffix for path in folder.path.rglob("*") if path.is_file()}
    assert kinds == {".json", ".safetensors", ""}  # the last is the lock
    json.loads(folder.config_path.read_text())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "expected format 'hitools-model'"),
        ({"format_version": 99}, "reads up to 1"),
        ({"event_columns": ["b"]}, "event_columns are not the ones"),
        ({"network": {"wdith": 3}}, "unknown settings wdith"),
        ({"representation": {"name": "polar"}}, "representation 'polar'"),
        ({"representation": {"name": "standardised"}}, "not as hi-train writes it"),
        ({"representation": {"name": "aligned"}}, "damaged, or of another version"),
        ({"selection": 7}, "not as hi-train writes it"),
        ({"selection": {"eta_max": None}}, "not as hi-train writes it"),
        ({"system": [1]}, "not as hi-train writes it"),
        ({"format_version": None}, "not as hi-train writes it"),
        ({"format_version": "1"}, "not as hi-train writes it"),
        ({"event_columns": None}, "not as hi-train writes it"),
        ({"particle_columns": 6}, "not as hi-train writes it"),
        ({"representation": None}, "not as hi-train writes it"),
        ({"network": None}, "not as hi-train writes it"),
        ({"training": None}, "not as hi-train writes it"),
        ({"data": {"n_train": "many"}}, "not as hi-train writes it"),
        ({"sampling": None}, "not as hi-train writes it"),
        ({"sampling": {"solver": ["ab2"]}}, "solver \\['ab2'\\], expected one of"),
        ({"sampling": {"steps": 2.5}}, "steps 2.5, expected a whole number from 1 on"),
        ({"sampling": {"grid": 3}}, "grid 3, expected one of"),
        ({"first_velocity": {"coefficients": []}}, "not as hi-train writes it"),
        (
            {"first_velocity": {"n_event_features": 11, "coefficients": [[0.0] * 6] * 23}},
            "expected 11 event features and 24 rows of 6 coefficients",
        ),
    ],
)
def test_a_configuration_of_something_else_is_refused(folder, change, words):
    values = json.loads(folder.config_path.read_text()) | change
    folder.config_path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=f"config.json: .*{words}"):
        folder.read_config()


def test_a_missing_or_damaged_model_is_told_in_a_sentence(tmp_path, folder):
    with pytest.raises(InputError, match=r"nowhere: no model here: config.json is missing"):
        ModelFolder(tmp_path / "nowhere").read_model()
    folder.config_path.write_text("{")
    with pytest.raises(InputError, match=r"config.json: not readable"):
        folder.read_config()
    folder.config_path.write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"config.json: not readable"):
        folder.read_config()
    data = folder.weights_path.read_bytes()
    folder.weights_path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"model.safetensors: damaged"):
        folder.read_weights()
    folder.weights_path.unlink()
    with pytest.raises(InputError, match="no weights yet"):
        folder.read_weights()


@pytest.mark.parametrize(
    "line", ["x", "[1]", "[" * 100_000, json.dumps(EPOCH | {"validation": {}}), "{}", "3"]
)
def test_a_line_of_metrics_that_is_none_is_told_with_its_number(folder, line):
    folder.write_metrics([EPOCH])
    with folder.metrics_path.open("a") as file:
        file.write(line)
    with pytest.raises(InputError, match=r"metrics.jsonl: line 2 is .*, expected an epoch"):
        folder.read_metrics()


def test_a_state_without_progress_is_damaged(folder):
    save_file({"a": torch.zeros(2)}, folder.state_path)
    with pytest.raises(InputError, match=r"state.safetensors: damaged"):
        folder.read_state()


def test_weights_of_another_network_are_refused(folder):
    folder.write_weights(Denoiser(NetConfig(width=16)).state_dict())
    with pytest.raises(InputError, match="does not fit the network"):
        folder.read_model()


HOLD = """
import sys, time
from hitools.core.model.folder import ModelFolder
with ModelFolder(sys.argv[1]).locked():
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_lock_keeps_others_out_and_ends_with_its_holder_even_by_kill_9(folder):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "locked\n"
    with pytest.raises(InputError, match="another hi-train"), folder.locked():
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    with folder.locked():
        pass


def test_what_a_killed_writer_left_behind_is_removed(folder):
    leftovers = [
        folder.path / ".model.x1.safetensors",
        folder.state_folder / ".state.x2.safetensors",
        folder.path / ".config.x3.json",
    ]
    for leftover in leftovers:
        leftover.write_text("half")
    with folder.locked():
        assert not any(leftover.exists() for leftover in leftovers)
    assert folder.config_path.exists()


def test_a_folder_of_something_else_is_not_written_into(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="no model folder"), ModelFolder(tmp_path).locked():
        pass
    (tmp_path / "empty").mkdir()
    with ModelFolder(tmp_path / "empty").locked():
        pass


def test_a_training_that_was_killed_while_it_wrote_its_first_file_can_begin_again(tmp_path):
    folder = ModelFolder(tmp_path / "model")
    folder.state_folder.mkdir(parents=True)
    half = folder.path / ".config.x1y2z3.json"
    half.write_text('{"format": "hito')
    with folder.locked():
        assert not half.exists()
    other = folder.path / "notes.json"
    other.write_text("{}")
    with pytest.raises(InputError, match="no model folder"), folder.locked():
        pass
    assert other.exists()
