"""Whether a reference is independent of a model's training: nothing is proven on events it saw.

Two witnesses: the chains of commands, which tell when both come from one run of a generator, and
the events themselves, where the training files are still at hand.
"""

import argparse
import hashlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final

import numpy as np

from hitools.core.compare.classify.intake import require_disjoint
from hitools.core.errors import InputError
from hitools.core.format.provenance import Chain, Step
from hitools.core.format.reader import open_events
from hitools.core.hashing import event_fingerprints

_CUTTING: Final = ("hi-prep", "hi-cat")
"""Programs that may leave part of their input out."""


class Kinship(Enum):
    """What two chains of commands say of the events behind them."""

    APART = "no run of a generator is behind both"
    UNCLEAR = "one run of a generator is behind both, and they may be different parts of it"
    SHARED = "one run of a generator is behind both"


def kinship(model: Chain, reference: Chain) -> Kinship:
    """Compare the chain of a model with that of a reference.

    Event k of hi-mc depends on the seed and the options alone, so two runs of the same share
    events however they were called otherwise.
    """
    found = Kinship.APART
    for ours in _runs(model):
        for theirs in _runs(reference):
            if _identity(ours) != _identity(theirs):
                continue
            if not any(step.program in _CUTTING for step in (*model, *reference)):
                return Kinship.SHARED
            found = Kinship.UNCLEAR
    return found


def _runs(chain: Chain) -> list[Step]:
    return [step for step in chain if step.program == "hi-mc"]


def _identity(step: Step) -> tuple[Any, ...]:
    """Everything that decides which events a run of hi-mc makes."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for names in (("-n", "--number"), ("-j", "--workers"), ("-o", "--output"), ("--seed",)):
        parser.add_argument(*names, dest="unused")
    for names in (("-q", "--quiet"), ("--no-provenance",), ("--keep-partial",)):
        parser.add_argument(*names, dest="unused", action="store_true")
    for name, default in (("generator", "angantyr"), ("system", "O-O")):
        parser.add_argument(f"--{name}", default=default)
    for name, value in (("sqrt-s-nn", 5360.0), ("eta-max", 2.5), ("pt-min", 0.0)):
        parser.add_argument(f"--{name}", type=float, default=value)
    try:
        known, rest = parser.parse_known_args(shlex.split(step.command)[1:])
    except (argparse.ArgumentError, ValueError):
        return (step.id,)
    options = {name: value for name, value in vars(known).items() if name != "unused"}
    return (step.version, step.seed, *sorted(options.items()), *sorted(rest))


def refuse_shared_events(reference: Path, training: Sequence[Path]) -> None:
    """Raise InputError where an event of the reference is also in a training file."""
    ours = _fingerprints(reference)
    for path in training:
        require_disjoint(ours, _fingerprints(path), str(reference), str(path))


def _fingerprints(path: Path) -> Any:
    with open_events(str(path)) as events:
        return np.concatenate(
            [np.zeros(0, np.uint64), *(event_fingerprints(batch) for batch in events)]
        )


def are_the_training_events(paths: Iterable[Path], data: Mapping[str, Any]) -> bool:
    """Whether these files, in this order, are all that a model was trained and tuned on.

    Args:
        paths: training files, then the validation files.
        data: of the model's config.json, with the fingerprint that hi-train wrote.
    """
    events, counts, weights = [], [], []
    for path in paths:
        with open_events(str(path)) as source:
            for batch in source:
                events.append(batch.events)
                counts.append(batch.n_particles)
                weights.append(batch.weights_or_ones)
    if not events:
        return False
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    digest = hashlib.sha256()
    for array in (np.concatenate(events), offsets, np.concatenate(weights)):
        digest.update(np.ascontiguousarray(array).tobytes())
    return bool(digest.hexdigest() == data.get("sha256"))


def files_of_the_training(chain: Chain) -> list[Path]:
    """Files that the command lines of hi-train name and that are still where they were.

    A name may mean another file by now; that costs a look into it and proves nothing else.
    """
    words = [word for s in chain if s.program == "hi-train" for word in shlex.split(s.command)[1:]]
    return [path for path in map(Path, dict.fromkeys(words)) if path.is_file() and _is_events(path)]


def _is_events(path: Path) -> bool:
    try:
        with open_events(str(path)):
            return True
    except InputError:
        return False


def check(
    name: str,
    chain: Chain,
    data: Mapping[str, Any],
    reference: Path,
    reference_chain: Chain,
    training: Sequence[Path] = (),
) -> str:
    """Refuse a reference that the model's training saw, as far as can be told.

    Args:
        name: of the model, for messages.
        chain: of commands behind the model.
        data: of its config.json.
        reference: event file.
        reference_chain: of commands behind it.
        training: files that the model was trained and tuned on, in the order of the command.

    Returns:
        A sentence on what is known.

    Raises:
        InputError: it shares events with the training.
    """
    files = list(training) or files_of_the_training(chain)
    refuse_shared_events(reference, files)
    if are_the_training_events([reference], data):
        raise InputError(f"{reference}: these are the events that {name} was trained on")
    if are_the_training_events(files, data):
        return f"{reference} holds none of the events that {name} was trained and tuned on."
    found = kinship(chain, reference_chain)
    if found is Kinship.SHARED:
        raise InputError(
            f"{reference}: {found.value}, it and {name}: take events that its training never saw "
            "(hi-mc with another --seed)"
        )
    unsure = "" if found is Kinship.APART else " Name the training files with --training to know."
    return f"{name} and {reference}: {found.value}.{unsure}"
