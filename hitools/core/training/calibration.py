"""What is measured on a trained model itself: its first velocity, and its spectra, set right.

The velocity that particles begin with is fitted, so that sampling need not ask the network for it
(first_velocity.py). The one-particle spectra of pT and eta are built in as maps of scores
(aligned.py), and a perfect network would hand out the scores that real particles have. A real one
hands out a tail that is too thin or too thick. Once trained, it says how: particles are drawn for
the vectors of training events, and their quantiles become those of the particles of these events,
in each class of sizes of events (right_spectra.py). That they are the same events leaves out by how
much one sample of events differs from another. Real scores need not be normal, either: small events
are drawn as a whole and not denoised, and maps that are kept may be of other events.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np
import torch

from hitools.core.batch import EventBatch
from hitools.core.generator import Generator
from hitools.core.model.first_velocity import FirstVelocity
from hitools.core.model.folder import ModelFolder
from hitools.core.model.sampling import Sampling
from hitools.core.representation.aligned import Aligned, is_hard
from hitools.core.representation.event_scores import EVENT_SCORES
from hitools.core.representation.right_spectra import RightSpectra, SoftScores

SEED: Final = 987_654_321
"""Of the events that are measured: none that a user is likely to take."""

N_FIRST: Final = 3000
"""Events to fit the first velocity on: some 25 for each coefficient of the default preset."""


def calibrate(
    folder: ModelFolder,
    real: EventBatch,
    device: torch.device,
    watched: Callable[[Iterator[EventBatch]], Iterable[EventBatch]] = iter,
) -> None:
    """Measure a model in a folder and write what was found into its config.json.

    Args:
        folder: of a trained model whose representation is Aligned; see is_due.
        real: events that it was trained on, each with particles: as many are generated, as
            hi-sample --like does.
        device: where to.
        watched: hands the generated events on, to show how far they are.

    Raises:
        InputError: the folder holds no model.
    """
    network, config = folder.read_model()
    representation = config.representation
    assert isinstance(representation, Aligned)
    bare = replace(representation, right_spectra=None)
    n_events = len(real)
    sampling = replace(Sampling(seed=SEED, **config.sampling), corrections=0)
    bare_config = replace(config, representation=bare, first_velocity=None)
    first = _first_velocity(Generator(network, bare_config, sampling, device), n_events)
    bare_config = replace(bare_config, first_velocity=first)
    generator = Generator(network, bare_config, sampling, device, like=real.events)
    parts = [_scores(bare, batch) for batch in watched(generator.sample(n_events))]
    generated, wanted = SoftScores.joined(parts), _scores(bare, real)
    # Where all events are drawn as a whole, nothing is denoised, and nothing is to be set right.
    right = RightSpectra.fit(generated, wanted) if len(generated) and len(wanted) else None
    folder.write_config(
        replace(
            config,
            representation=replace(bare, right_spectra=right),
            training=config.training | {"calibration_events": n_events},
            first_velocity=first,
        )
    )


def is_due(folder: ModelFolder, n_events: int, *, trained: bool) -> bool:
    """Whether there is something to calibrate: a model of this kind that was trained since.

    Args:
        folder: of a trained model.
        n_events: to generate; another number than the last time is a reason, too.
        trained: whether its weights are new.
    """
    config = folder.read_config()
    representation = config.representation
    if not isinstance(representation, Aligned):
        return False
    done = representation.right_spectra is not None
    return trained or not done or config.training.get("calibration_events") != n_events


def _first_velocity(generator: Generator, n_events: int) -> FirstVelocity | None:
    """From what the network itself says of the first N_FIRST events."""
    parts = [
        generator.first_velocities(block) for block in generator.blocks(min(n_events, N_FIRST))
    ]
    given, n_particles, of_hard, velocities = (torch.cat(part) for part in zip(*parts, strict=True))
    return FirstVelocity.fit(len(EVENT_SCORES), given, n_particles, of_hard, velocities)


def _scores(representation: Aligned, batch: EventBatch) -> SoftScores:
    """Of the particles that the network denoises."""
    arrays = (torch.from_numpy(a) for a in (batch.events, batch.particles, batch.offsets))
    x = representation.encode(*arrays)[1]
    soft = ~is_hard(x).numpy()
    counts = batch.n_particles
    return SoftScores(x[soft, :2].numpy(), np.repeat(counts, counts)[soft])
