"""Spectra set right by what a model generates: on a network that is wrong in a known way."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from hitools.core.format.meta import EventMeta
from hitools.core.generator import Generator
from hitools.core.model.folder import ModelConfig, ModelFolder
from hitools.core.model.sampling import Sampling
from hitools.core.nets.config import NetConfig
from hitools.core.nets.rotary_config import RotaryConfig
from hitools.core.nets.rotary_net import RotaryNet
from hitools.core.representation.aligned import Aligned
from hitools.core.scaling import Standardised
from hitools.core.training.calibration import calibrate, is_due

CPU = torch.device("cpu")
SIZES = RotaryConfig(16, 1, 24, n_blocks=1, n_feedbacks=0, event_width=16, slice_width=16)


@pytest.fixture(scope="module")
def real(oo):
    return oo.take(np.flatnonzero(oo.n_particles > 0)[:300])


@pytest.fixture(params=[None, 2.0])
def folder(real, tmp_path, request):
    """A model whose pT are too soft and whose eta lean to one side."""
    return folder_of(Aligned.fit([real], hard_from=request.param, eta_max=2.5), real, tmp_path)


def folder_of(scaling, real, tmp_path):
    torch.manual_seed(1)
    model = RotaryNet(SIZES, scaling)
    with torch.no_grad():
        model.out.bias += torch.tensor([0.3, -0.2, 0, 0])
    found = ModelFolder(tmp_path / "model")
    found.path.mkdir()
    found.write_config(
        ModelConfig(
            network=SIZES,
            representation=scaling,
            meta=EventMeta(system="O-O"),
            training={"calibration_events": 300},
            data={"n_particles": int(real.offsets[-1]), "n_train": len(real)},
            sampling={"solver": "ab2", "steps": 2, "grid": "power"},
        )
    )
    found.write_weights(model.state_dict())
    return found


def test_spectra_become_those_of_the_training_events(folder, real):
    def distances() -> list[float]:
        model, config = folder.read_model()
        generator = Generator(model, config, Sampling(seed=5, **config.sampling), CPU)
        parts = list(generator.sample(300))
        return [
            stats.wasserstein_distance(
                np.concatenate([part.particle(name) for part in parts]), real.particle(name)
            )
            for name in ("pt", "eta")
        ]

    before = distances()
    assert is_due(folder, len(real), trained=False)
    calibrate(folder, real, CPU)
    assert not is_due(folder, len(real), trained=False)
    assert is_due(folder, len(real), trained=True)
    assert is_due(folder, 200, trained=False)
    after = distances()
    assert before[0] > 0.05
    assert before[1] > 0.1
    # Hard particles are not set right, and their branch is untrained here.
    hard = folder.read_config().representation.hard_from
    assert after[0] < (0.15 if hard is None else 0.3) * before[0]
    assert after[1] < 0.3 * before[1]


def test_spectra_are_those_of_the_events_that_were_trained_on_whatever_the_maps_are_of(
    real, tmp_path
):
    """Maps that are kept from other events, or made with small events that are drawn as a whole."""
    mean_pt = real.event("mean_pt")
    hard = real.take(np.flatnonzero(mean_pt > np.median(mean_pt)))
    folder = folder_of(Aligned.fit([real], eta_max=2.5), real, tmp_path)
    calibrate(folder, hard, CPU)
    model, config = folder.read_model()
    sampling = Sampling(seed=5, **config.sampling)
    generator = Generator(model, config, sampling, CPU, like=hard.events)
    parts = list(generator.sample(len(hard)))
    pt = np.concatenate([part.particle("pt") for part in parts])
    apart = stats.wasserstein_distance(real.particle("pt"), hard.particle("pt"))
    assert stats.wasserstein_distance(pt, hard.particle("pt")) < 0.3 * apart
    known = type(config.representation).from_dict(config.representation.to_dict())
    assert known == config.representation


def test_the_first_velocity_is_the_network_s(folder, real):
    """Of other events than it was fitted on; a sampler that has it asks the network once less."""
    calibrate(folder, real.take(np.arange(750) % len(real)), CPU)
    model, config = folder.read_model()
    assert config.first_velocity is not None
    sampling = Sampling(seed=5, **config.sampling)
    given, n_particles, of_hard, velocities = Generator(
        model, config, sampling, CPU
    ).first_velocities(range(200))
    found = config.first_velocity(given, n_particles, of_hard)
    weights = n_particles[:, None] / n_particles.sum()
    error, size = (
        (weights * one.square()).sum().sqrt() for one in (found - velocities, velocities)
    )
    assert error < 0.2 * size
    asked = []
    original = model.particle_velocity
    model.particle_velocity = lambda x, t, *rest: asked.append(float(t)) or original(x, t, *rest)
    for known, times in ((config, [0.25]), (replace(config, first_velocity=None), [1, 0.25])):
        asked.clear()
        Generator(model, known, sampling, CPU).make(range(20))
        assert asked == times


def test_it_says_the_same_when_done_again_and_leaves_the_rest(folder, real):
    _, untouched = folder.read_model()
    calibrate(folder, real[:50], CPU)
    first = folder.config_path.read_bytes()
    calibrate(folder, real[:50], CPU)
    assert folder.config_path.read_bytes() == first
    _, config = folder.read_model()
    assert replace(config.representation, right_spectra=None) == untouched.representation
    assert config.sampling == untouched.sampling
    assert config.training == untouched.training | {"calibration_events": 50}


def test_a_model_of_the_paper_s_kind_is_not_touched(tmp_path, real):
    found = ModelFolder(tmp_path / "paper")
    found.path.mkdir()
    found.write_config(
        ModelConfig(
            network=NetConfig(),
            representation=Standardised.fit([real]),
            meta=EventMeta(system="O-O"),
            training={},
            data={},
            sampling={},
        )
    )
    assert not is_due(found, 300, trained=True)


def test_where_all_events_are_drawn_as_a_whole_nothing_is_set_right(real, tmp_path):
    below = int(real.n_particles.max()) + 1
    few = real.take(np.flatnonzero(real.n_particles < 60))
    scaling = Aligned.fit([few], hard_from=2.0, whole_below=below, eta_max=2.5)
    folder = folder_of(scaling, few, tmp_path)
    calibrate(folder, few, CPU)
    model, config = folder.read_model()
    assert config.first_velocity is None
    assert config.representation.right_spectra is None
    sample = next(
        iter(Generator(model, config, Sampling(seed=5, **config.sampling), CPU).sample(1))
    )
    assert len(sample.particles) == int(sample.n_particles.sum()) > 0
