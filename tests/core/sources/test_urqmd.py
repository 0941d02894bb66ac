"""UrQMD through chromo: a second generator with the same promises."""

import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.sources.generation import Setting
from hitools.core.sources.pool import Production
from tests.core.sources.making import made, options


@pytest.fixture(scope="module")
def oxygen() -> EventBatch:
    """Two blocks of O-O events and a bit."""
    return made(24, generator="urqmd")


def test_events_look_like_oxygen_collisions(oxygen):
    assert len(oxygen) == 24
    b, n_part = oxygen.event("b"), oxygen.event("n_part")
    assert (b > 0).all()
    assert b.max() < 8  # twice UrQMD's radius of oxygen and the range of the force
    assert len(np.unique(b)) == 24
    assert (n_part >= 2).all()
    assert n_part.max() <= 32
    assert (oxygen.event("n_coll") >= n_part / 2).all()
    assert np.corrcoef(b, n_part)[0, 1] < -0.7
    assert np.corrcoef(oxygen.n_particles, n_part)[0, 1] > 0.7
    assert np.abs(oxygen.particle("eta")).max() < 2.5


def test_events_do_not_depend_on_workers_or_number(oxygen):
    shorter = made(13, workers=1, generator="urqmd")
    assert (shorter.particles == oxygen[:13].particles).all()
    assert (shorter.events == oxygen[:13].events).all()


def test_neutral_particles_come_on_request(oxygen):
    everything = made(10, generator="urqmd", charged=False)
    assert (everything.event("b") == oxygen[:10].event("b")).all()
    assert (everything.n_particles > 1.2 * oxygen[:10].n_particles).all()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"weighted": True}, "no weights"),
        ({"settings": (Setting("Tune:pp = 14", "--set"),)}, "no settings"),
        ({"sqrt_s_nn_gev": 1.5}, "2 GeV or more"),
    ],
)
def test_what_urqmd_cannot_do_is_told(values, words):
    with pytest.raises(InputError, match=words):
        Production(options(generator="urqmd", **values), 1)
