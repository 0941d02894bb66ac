"""What benchmarks of single parts of a model share: options, and real events in its space."""

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.format.concatenation import Concatenation
from hitools.core.representation.aligned import Aligned

FEWEST = 100
ANY_NUMBER = 2**31


def parser(what: str | None) -> argparse.ArgumentParser:
    """A model, a file of events that no training saw, how many of them, and --json."""
    found = argparse.ArgumentParser(description=(what or "").splitlines()[0])
    found.add_argument("model")
    found.add_argument("reference")
    found.add_argument("-n", "--events", type=int, default=20_000)
    found.add_argument("--json", action="store_true")
    return found


def asked(options: argparse.ArgumentParser) -> argparse.Namespace:
    """The options as given, enough events among them; one thread."""
    given = options.parse_args()
    if given.events < FEWEST:
        options.error(f"--events: expected {FEWEST} or more")
    torch.set_num_threads(1)
    return given


def real_events(
    path: str, n_events: int, low: int = 1, high: int = ANY_NUMBER
) -> Iterator[EventBatch]:
    """The first events of a file with low to high particles, high itself not.

    Raises:
        InputError: where there are fewer.
    """
    missing = n_events
    with Concatenation((path,)) as batches:
        for batch in batches:
            n = batch.n_particles
            some = batch.take((n >= low) & (n < high))[:missing]
            missing -= len(some)
            if len(some):
                yield some
            if not missing:
                return
    any_number = low == 1 and high == ANY_NUMBER
    sizes = "particles" if any_number else f"{low} to {high - 1} particles"
    raise InputError(f"{path}: {n_events - missing} events with {sizes}, {n_events} expected")


def encoded(representation: Aligned, batch: EventBatch) -> tuple[Tensor, Tensor]:
    """Scores of event vectors and their slices (n_events, k), and particles (n_total, columns)."""
    arrays = (batch.events, batch.particles, batch.offsets)
    z, x = representation.encode(*(torch.from_numpy(np.asarray(one)) for one in arrays))
    return z.float(), x.float()
