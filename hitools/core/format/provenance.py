"""The chain of commands that made some events, after the @PG records of SAM files.

A step names the steps that it read from, so that a chain is a small graph: hi-cat of two files
has two parents. Equal steps have equal ids, which makes merging a union.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from hitools.core.errors import InputError


@dataclass(frozen=True)
class Step:
    """One command that touched the events.

    Attributes:
        id: program name and a hash of everything else, unique in a chain.
        parent: ids of the steps whose output this one read; empty for a source.
        program: e.g. "hi-mc".
        version: of hitools.
        command: the command line as typed.
        seed: None where the command draws no random numbers.
        time: start of the command, UTC, ISO 8601.
    """

    id: str
    parent: tuple[str, ...]
    program: str
    version: str
    command: str
    seed: int | None
    time: str


Chain = tuple[Step, ...]


def make_step(
    chain: Chain, program: str, version: str, command: str, seed: int | None, time: str
) -> Step:
    """A step that reads what the chain's last steps wrote."""
    parent = leaves(chain)
    digest = hashlib.sha256(repr((parent, program, version, command, seed, time)).encode())
    return Step(
        f"{program}.{digest.hexdigest()[:8]}", parent, program, version, command, seed, time
    )


def merge(chains: Iterable[Chain]) -> Chain:
    """The union of several chains in order of appearance, parents before children."""
    return tuple({step.id: step for chain in chains for step in chain}.values())


def leaves(chain: Chain) -> tuple[str, ...]:
    """Ids of the steps that no other step read from: what wrote the events last."""
    parents = {parent for step in chain for parent in step.parent}
    return tuple(step.id for step in chain if step.id not in parents)


def to_json(chain: Chain) -> str:
    """The attribute's text: a list of objects; parent is null, an id, or a list of ids."""

    def parent(ids: Sequence[str]) -> str | list[str] | None:
        return None if not ids else ids[0] if len(ids) == 1 else list(ids)

    return json.dumps([asdict(step) | {"parent": parent(step.parent)} for step in chain])


def from_json(text: str, where: str) -> Chain:
    """Read the attribute; raises InputError that names `where` when it is not such a list."""
    try:
        steps = []
        for entry in json.loads(text):
            parent = entry["parent"]
            ids = () if parent is None else (parent,) if isinstance(parent, str) else tuple(parent)
            steps.append(_checked(Step(**(entry | {"parent": ids}))))
        return tuple(steps)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{where}: attribute provenance is not a list of steps: {error}") from None


def _checked(step: Step) -> Step:
    """The same. Raises TypeError where a value is of another kind than a step has."""
    texts = (step.id, *step.parent, step.program, step.version, step.command, step.time)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"step {step.id!r} holds something else than text")
    if step.seed is not None and not isinstance(step.seed, int):
        raise TypeError(f"step {step.id!r} has the seed {step.seed!r}")
    return step
