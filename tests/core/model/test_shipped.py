"""Models by name, and that every model which the package ships is whole and says what it is."""

import json
import shutil

import numpy as np
import pytest
import torch

from hitools.core.diffusion.solvers import SOLVERS
from hitools.core.errors import InputError
from hitools.core.features import EVENT_INDEX
from hitools.core.format.meta import EventMeta, Selection
from hitools.core.format.provenance import make_step
from hitools.core.generator import Generator
from hitools.core.model.folder import ModelConfig, ModelFolder
from hitools.core.model.sampling import Sampling
from hitools.core.model.shipped import (
    CARD,
    EVALUATIONS_PER_STEP,
    OWN_MODELS,
    default_model,
    find_model,
    model_libraries,
    named_models,
    summarise,
)
from hitools.core.nets.config import NetConfig
from hitools.core.nets.model import Denoiser
from hitools.core.scaling import Standardised

TINY = NetConfig(width=8, n_heads=2, n_blocks=1, n_head_blocks=1)


@pytest.fixture
def library(tmp_path, oo):
    """A folder with two models and two things that are none."""
    library = tmp_path / "library"
    step = make_step((), "hi-train", "0.1.0", "hi-train oo.h5 -o m", 1, "2026-01-01T00:00:00Z")
    folder = ModelFolder(library / "oo-5360")
    with folder.locked():
        folder.write_config(
            ModelConfig(
                network=TINY,
                representation=Standardised.fit([oo], eta_max=2.5),
                meta=EventMeta("O-O", 5360.0, Selection(), "particles", (step,)),
                training={"preset": "quick"},
                data={"n_train": 3, "n_validation": 1, "n_particles": 30},
                sampling={"solver": "heun", "steps": 8},
            )
        )
        folder.write_weights(Denoiser(TINY).state_dict())
    (folder.path / CARD).write_text("# oo-5360\n\nMinimum-bias O-O\nevents. And more.\n\n| table |")
    shutil.copytree(folder.path, library / "a-copy")
    (library / "a-copy" / CARD).unlink()
    (library / "a-copy" / "model.safetensors").unlink()
    (library / "empty").mkdir()
    (library / "file").write_text("")
    return library


def test_models_are_found_by_name_in_alphabetical_order(library):
    assert list(named_models([library])) == ["a-copy", "oo-5360"]
    assert find_model("oo-5360", [library]).path == library / "oo-5360"
    assert default_model([library]).path == library / "oo-5360"


def test_an_earlier_library_wins(library, tmp_path):
    shutil.copytree(library / "oo-5360", tmp_path / "mine" / "oo-5360")
    models = named_models([tmp_path / "mine", library, tmp_path / "nowhere"])
    assert list(models) == ["a-copy", "oo-5360"]
    assert models["oo-5360"].path == tmp_path / "mine" / "oo-5360"


def test_the_library_of_the_environment_comes_first(library, monkeypatch):
    shipped = model_libraries()
    monkeypatch.setenv(OWN_MODELS, str(library))
    assert model_libraries() == (library, *shipped)


def test_a_folder_of_that_path_wins_and_a_file_does_not(library, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-copy").mkdir()
    (tmp_path / "oo-5360").write_text("no folder")
    assert find_model("a-copy", [library]).path.resolve() == tmp_path / "a-copy"
    assert find_model("oo-5360", [library]).path == library / "oo-5360"


def test_a_name_that_is_neither_is_one_sentence_with_the_names(library, tmp_path):
    with pytest.raises(InputError, match=r"^oo: no model here: no such folder, .*a-copy, oo-5360$"):
        find_model("oo", [library])
    with pytest.raises(InputError, match=r"^\.\./library/oo-5360: no model here"):
        find_model("../library/oo-5360", [library])
    with pytest.raises(InputError, match="ships no models"):
        find_model("oo", [])
    shutil.rmtree(library / "oo-5360")
    with pytest.raises(InputError, match=r"^-m MODEL says which model.*are a-copy$"):
        default_model([library])


def test_a_model_says_what_it_is(library):
    summary = summarise(ModelFolder(library / "oo-5360"))
    assert (summary.name, summary.description) == ("oo-5360", "Minimum-bias O-O events.")
    assert summary.collisions == "O-O, 5360 GeV"
    assert summary.sampling == "heun, 8 steps (uniform grid), 16 evaluations"
    assert summary.n_weights == sum(p.numel() for p in Denoiser(TINY).state_dict().values())
    assert [step.program for step in summary.meta.provenance] == ["hi-train"]
    values = json.loads((library / "a-copy/config.json").read_text())
    values["first_velocity"] = {"n_event_features": 11, "coefficients": [[0.0] * 6]}
    (library / "a-copy/config.json").write_text(json.dumps(values))
    bare = summarise(ModelFolder(library / "a-copy"))
    assert bare.evaluations == 15
    assert (bare.description, bare.n_weights) == ("", None)
    values["sampling"] |= {"small_steps": 12, "corrections": 1}
    (library / "a-copy/config.json").write_text(json.dumps(values))
    assert summarise(ModelFolder(library / "a-copy")).sampling == (
        "heun, 8 steps, up to 12 in small events (uniform grid), at most 23 evaluations, "
        "1 correction"
    )
    values["sampling"] |= {"small_steps": 20, "small_solver": "sab2"}
    (library / "a-copy/config.json").write_text(json.dumps(values))
    assert summarise(ModelFolder(library / "a-copy")).sampling == (
        "heun, 8 steps, up to 20 of sab2 in small events (uniform grid), at most 19 evaluations, "
        "1 correction"
    )


def test_a_damaged_model_is_a_sentence(library):
    folder = ModelFolder(library / "oo-5360")
    folder.weights_path.write_bytes(folder.weights_path.read_bytes()[:100])
    with pytest.raises(InputError, match="damaged"):
        summarise(folder)
    values = json.loads(folder.config_path.read_text())
    del values["sampling"]["steps"]
    folder.config_path.write_text(json.dumps(values))
    with pytest.raises(InputError, match="not as hi-train writes it"):
        summarise(folder)


def test_a_card_in_another_encoding_is_shown_as_far_as_it_can_be(library):
    folder = ModelFolder(library / "oo-5360")
    (folder.path / CARD).write_bytes("# oo\n\nMade in Orléans. More.".encode("latin-1"))
    assert summarise(folder).description == "Made in Orl\ufffdans."


def test_costs_of_solvers_are_those_of_the_solvers():
    assert {name: s.evaluations_per_step for name, s in SOLVERS.items()} == EVALUATIONS_PER_STEP


def test_every_shipped_model_is_whole_and_has_a_card_with_its_making():
    """Of all of them, however many; the package's own folder, not the user's."""
    for name, folder in named_models(model_libraries()[-1:]).items():
        model, config = folder.read_model()
        assert all(torch.isfinite(value).all() for value in model.state_dict().values()), name
        assert folder.read_metrics(), name
        files = {path.name for path in folder.path.iterdir()} - {"state"}
        assert files == {"config.json", "model.safetensors", "metrics.jsonl", CARD}, name
        summary = summarise(folder)
        assert summary.description, name
        card = (folder.path / CARD).read_text()
        assert f"{config.data['n_train']:,}" in card, name
        for word in (*_steps(config), f"seed {config.training['seed']}"):
            assert word in card, name
        for heading in ("## Data", "## Training", "## What it reaches", "## Known failures"):
            assert heading in card, name
        for quantity in ("Q_x", "<W1>_part", "AUC", "resolution", "jet pT", "evaluations"):
            assert quantity in card, name


def _steps(config):
    return [step.command for step in config.meta.provenance]


def test_nucleons_and_collisions_of_a_shipped_model_are_possible():
    """Each of n_part nucleons collides, and at most with all of the other nucleus."""
    model, config = find_model("oo-5360").read_model()
    generator = Generator(model, config, Sampling(seed=5, **config.sampling), torch.device("cpu"))
    index = np.arange(20_000)
    events, _ = generator.draw_vectors(index, np.zeros_like(index))
    n_part, n_coll = (events[:, EVENT_INDEX[name]] for name in ("n_part", "n_coll"))
    possible = (n_coll >= n_part / 2) & (n_coll <= n_part**2 / 4)
    assert (~possible).mean() < 0.0005
    assert 0.05 < (n_part == 2).mean() < 0.2
