"""Data sets for training: events split into train, test and validation files, and their scaling.

The split of an event depends on a seed and on what the event is, not on where it stands: order,
chunking and the number of files do not matter, and equal events never come apart.
"""

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.features import (
    GEOMETRY_COLUMNS,
    PARTICLE_INDEX,
    Float64Array,
    IntArray,
)
from hitools.core.format.meta import EventMeta
from hitools.core.format.reader import open_events
from hitools.core.format.writer import EventWriter, open_writer
from hitools.core.hashing import scramble, words_of
from hitools.core.interrupts import interrupts_held

TRAINING: Final = "train"
SCALING: Final = "scaling.json"
_SUM_TOLERANCE: Final = 1e-6


@dataclass(frozen=True)
class Split:
    """Names of the parts of a data set, and their shares of the events.

    Attributes:
        shares: share by name, in (0, 1], of sum 1.
        seed: another seed gives another split.
    """

    shares: Mapping[str, float]
    seed: int

    @classmethod
    def parse(cls, text: str, seed: int) -> "Split":
        """Read "train=0.71,test=0.22,val=0.07".

        Raises InputError where it is not that, the sum is not 1, or there is no part "train".
        """
        shares: dict[str, float] = {}
        for part in text.split(","):
            name, _, share = part.partition("=")
            good = name.replace("_", "").replace("-", "").isalnum() and name not in shares
            try:
                shares[name] = float(share)
            except ValueError:
                good = False
            if not good or not 0 < shares[name] <= 1:
                raise InputError(
                    f"split {text!r}: {part!r} not understood, expected NAME=SHARE,... with "
                    "different names and shares between 0 and 1"
                )
        if abs(sum(shares.values()) - 1) > _SUM_TOLERANCE:
            raise InputError(
                f"split {text!r}: the shares add up to {sum(shares.values()):g}, not 1"
            )
        if TRAINING not in shares:
            raise InputError(
                f"split {text!r}: no part {TRAINING!r}, from which scaling is measured"
            )
        return cls(shares, seed)

    def assign(self, batch: EventBatch) -> IntArray:
        """(n_events,) which part each event belongs to, as an index into shares."""
        edges = np.cumsum(list(self.shares.values()))
        edges[-1] = np.inf  # whatever the rounding of the sum
        return np.searchsorted(edges, _uniform(batch, self.seed), side="right").astype(np.int64)


def _uniform(batch: EventBatch, seed: int) -> Float64Array:
    """(n_events,) numbers in [0, 1), each from a hash of the seed and the event itself.

    The event is its particles' float32 pT, eta and phi, in any order, and its geometry: what all
    other columns follow from.
    """
    columns = [PARTICLE_INDEX[name] for name in ("pt", "eta", "phi")]
    words = words_of(batch.particles[:, columns])
    start = scramble(np.full(1, seed, np.uint64))
    particles = scramble(
        scramble(words[:, 0] + (words[:, 1] << np.uint64(32)) ^ start) + words[:, 2]
    )
    sums = np.zeros(len(batch), np.uint64)
    filled = batch.n_particles > 0
    sums[filled] = np.add.reduceat(particles, batch.offsets[:-1][filled])
    for name in GEOMETRY_COLUMNS:
        sums = scramble(sums + words_of(batch.event(name)))
    return (sums >> np.uint64(11)).astype(np.float64) * 2.0**-53


class SplitWriter:
    """Writes each event to the file of its part.

    Attributes:
        n_events: events written so far, by part.
    """

    def __init__(self, split: Split, writers: Mapping[str, EventWriter]) -> None:
        """Write to writers, which the caller opens and closes."""
        self._split = split
        self._writers = writers
        self.n_events = dict.fromkeys(writers, 0)

    @property
    def meta(self) -> EventMeta:
        """Of all parts."""
        return self._writers[TRAINING].meta

    @meta.setter
    def meta(self, meta: EventMeta) -> None:
        for writer in self._writers.values():
            writer.meta = meta

    def write(self, batch: EventBatch) -> None:
        """Distribute events."""
        parts = self._split.assign(batch)
        for index, (name, writer) in enumerate(self._writers.items()):
            mine = parts == index
            self.n_events[name] += int(mine.sum())
            if mine.any():
                writer.write(batch.take(mine))


@contextmanager
def open_data_set(folder: Path, split: Split, meta: EventMeta) -> Iterator[SplitWriter]:
    """A folder with a file for each part and scaling.json, whole when the block ends, or nothing.

    A folder that is not there appears at once; in one that is, the files are made aside and then
    replace those of the same names, one by one.

    Raises:
        InputError: the folder cannot be written, or holds other event files, which might hold the
            same events; no event went to the training part.
    """
    names = {f"{name}.h5" for name in split.shares}
    others = sorted({path.name for path in folder.glob("*.h5")} - names)
    if others:
        raise InputError(
            f"{folder}: holds {', '.join(others)}, which would not be a part of this data set: "
            "remove it, or name another folder"
        )
    with _new_folder(folder) as part:
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(open_writer(part / f"{name}.h5", meta))
                for name in split.shares
            }
            writer = SplitWriter(split, writers)
            yield writer
        if not writer.n_events[TRAINING]:
            raise InputError(f"{folder}: no event went to the part {TRAINING!r}")
        write_scaling(part / f"{TRAINING}.h5", part / SCALING)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder whose files move to `folder` when the block ends well."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is no folder")
    beside = folder if folder.exists() else folder.parent  # the same file system either way
    part = beside / f".{folder.name}.{secrets.token_hex(4)}.part"
    try:
        try:
            part.mkdir()
        except OSError as error:
            raise InputError(f"{folder}: cannot write: {error.strerror}") from None
        yield part
        if folder.exists():
            for path in part.iterdir():
                path.replace(folder / path.name)
        else:
            part.rename(folder)
    finally:
        with interrupts_held():
            shutil.rmtree(part, ignore_errors=True)


def write_scaling(events: Path, target: Path) -> None:
    """Measure the standardisation constants on an event file and write them as JSON."""
    from hitools.core.scaling import Standardised

    with open_events(events) as reader:
        selection = reader.meta.selection
        constants = Standardised.fit(
            reader,
            eta_max=None if selection is None else selection.eta_max,
            pt_min=0.0 if selection is None else selection.pt_min,
        )
    target.write_text(json.dumps(constants.to_dict(), indent=1) + "\n")
