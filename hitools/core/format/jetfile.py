"""Jet files and streams: one row per jet, one per event, and how the jets were defined.

They travel as events do (files whole or not at all, streams of images), so that jets found once
can be compared, plotted and selected from without clustering again. man/hi-format.5 is normative.

    with open_jets("oo.jets.h5") as jets:
        for batch in jets:
            ...
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import h5py
import numpy as np

from hitools.core.errors import InputError
from hitools.core.format import meta as event_meta
from hitools.core.format.images import ImageSource, count_events, damage_told
from hitools.core.format.layout import Storage, plain_dataset
from hitools.core.format.meta import EventMeta
from hitools.core.format.writing import Writer, open_target
from hitools.core.observables.jets.definition import JetDefinition
from hitools.core.observables.jets.table import (
    EVENT_UNITS,
    JET_UNITS,
    JetBatch,
    Table,
    event_columns,
    jet_columns,
    table_type,
)

FORMAT: Final = "hitools-jets"
FORMAT_VERSION: Final = 1
_ROWS_PER_CHUNK: Final = 1024
_EVENTS_AT_ONCE: Final = 4096


@dataclass(frozen=True)
class JetMeta:
    """Attributes of a file or stream of jets.

    Attributes:
        definition: how they were found.
        events: which events they were found in, and by what chain of commands.
    """

    definition: JetDefinition
    events: EventMeta = field(default_factory=EventMeta)


JetWriter = Writer[JetBatch, JetMeta]


def is_jet_image(file: h5py.File, where: str) -> bool:
    """Whether an open file says that it holds jets. Raises InputError where it is damaged."""
    with damage_told(where):
        found = file.attrs.get("format")
    return isinstance(found, str) and found == FORMAT


class _Jets:
    """Jet files as contents of images."""

    name = "jets"

    def __init__(self, definition: JetDefinition) -> None:
        self._definition = definition

    def concatenate(self, batches: Sequence[JetBatch]) -> JetBatch:
        return JetBatch.concatenate(batches) if batches else JetBatch.empty(self._definition)

    def n_particles(self, batch: JetBatch) -> int:
        return len(batch.jets)

    def create(self, file: h5py.File, first: JetBatch, storage: Storage) -> None:
        tables: dict[str, np.dtype] = {"events": first.events.dtype, "jets": first.jets.dtype}
        if self._definition.constituents:
            tables["constituents"] = np.dtype("<i4")
        for name, kind in tables.items():
            file.create_dataset(
                name,
                (0,),
                kind,
                maxshape=(None,),
                chunks=(_ROWS_PER_CHUNK,),
                **storage.options(),
            )

    def append(self, file: h5py.File, batch: JetBatch, storage: Storage) -> None:  # noqa: ARG002
        jets = batch.jets.copy()
        jets["event"] += len(file["events"])
        pieces: dict[str, np.ndarray] = {"events": batch.events, "jets": jets}
        if batch.constituents is not None:
            pieces["constituents"] = batch.constituents
        for name, rows in pieces.items():
            dataset = file[name]
            start = len(dataset)
            dataset.resize(start + len(rows), axis=0)
            if len(rows):
                dataset[start:] = rows

    def describe(self, file: h5py.File, meta: JetMeta) -> None:
        attributes = file.attrs
        attributes["format"] = FORMAT
        attributes["format_version"] = FORMAT_VERSION
        definition = meta.definition
        for name, columns, units in (
            ("jet", jet_columns(definition), JET_UNITS),
            ("event", event_columns(definition), EVENT_UNITS),
        ):
            attributes[f"{name}_columns"] = list(columns)
            attributes[f"{name}_units"] = [units.get(column, "1") for column in columns]
        attributes["definition"] = json.dumps(definition.as_dict())
        if definition.areas is not None:
            attributes["rho_definition"] = definition.areas.rho_definition
        event_meta.write_origin(file, meta.events)


def open_jet_writer(target: str | Path, meta: JetMeta, storage: Storage | None = None) -> JetWriter:
    """Write jets to a file or stream, as writer.open_writer does with events.

    Args:
        target: path, or "-".
        meta: root attributes; its definition says which columns there are.
        storage: None is gzip 1 with checksums on disk, uncompressed in a stream.

    Raises:
        InputError: standard output is a terminal, or the target cannot be written.
    """
    return open_target(target, _Jets(meta.definition), meta, storage)


def open_jets(source: str | Path) -> "JetReader":
    """Open a jet file, a file that holds a stream of jets, or "-" for standard input.

    Raises:
        InputError: the source is missing, empty, not of the format, or not complete. Damage that
            lies further in is raised when the iteration reaches it.
    """
    images = ImageSource(source)
    try:
        return JetReader(images)
    except BaseException:
        images.close()
        raise


class JetReader:
    """Iterates over JetBatch. Use as a context manager; iterate once.

    Attributes:
        meta: attributes of all images read so far, merged; of the first one after opening.
        n_events: how many events there are, None where only the end of a stream will tell.
        name: of the source, for messages.
    """

    def __init__(self, source: ImageSource) -> None:
        """Look at the first image. Raises InputError where it does not hold jets."""
        self._source = source
        self.name = source.name
        self.meta = self._identify(source.first)
        self.n_events = count_events(source.first) if source.is_file else None

    def _identify(self, image: h5py.File) -> JetMeta:
        with damage_told(self.name):
            event_meta.check_format(image, FORMAT, FORMAT_VERSION, self.name)
            definition = _read_definition(image, self.name)
            _check_tables(image, definition, self.name)
            return JetMeta(definition, event_meta.read_origin(image, self.name))

    def __iter__(self) -> Iterator[JetBatch]:
        """All jets, some thousand events at a time.

        Raises InputError where jets of another definition follow.
        """
        before = 0
        for image in self._source:
            if image is not self._source.first:
                self._merge(self._identify(image), before)
            yield from self._batches(image, before)
            before += count_events(image)

    def _merge(self, found: JetMeta, before: int) -> None:
        differing = differences(self.meta.definition, found.definition)
        if differing:
            raise InputError(
                f"{self.name}: jets from event {before} on have another definition: "
                f"{'; '.join(differing)}"
            )
        merged = event_meta.merge(self.meta.events, found.events)
        self.meta = replace(self.meta, events=merged)

    def _batches(self, image: h5py.File, before: int) -> Iterator[JetBatch]:
        first_jet = first_constituent = 0
        for start in range(0, len(image["events"]), _EVENTS_AT_ONCE):
            where = f"{self.name}: jets from event {before + start} on"
            with damage_told(where):
                events = image["events"][start : start + _EVENTS_AT_ONCE]
                n_jets = int(events["n_jets"].sum())
                jets = image["jets"][first_jet : first_jet + n_jets]
                jets["event"] -= start
                _check_rows(jets, events, where)
                n_constituents = int(jets["n_constituents"].sum())
                constituents = None
                if self.meta.definition.constituents:
                    last = first_constituent + n_constituents
                    constituents = image["constituents"][first_constituent:last].astype(np.int64)
                    _require(len(constituents) == n_constituents, where, "constituents missing")
            first_jet += n_jets
            first_constituent += n_constituents
            yield JetBatch(jets, events, constituents)
        _require(first_jet == len(image["jets"]), self.name, "more jets than the events count")

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def __enter__(self) -> Self:
        """Enter; the source is open already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""
        self.close()


def differences(a: JetDefinition, b: JetDefinition) -> list[str]:
    """Sentences on what makes the jets of two definitions different; the ghosts' seed does not."""
    one, other = a.as_dict(), b.as_dict()
    return [
        f"{name} {one[name]} and {other[name]}"
        for name in one
        if name not in ("seed", "constituents") and one[name] != other[name]
    ]


def _read_definition(image: h5py.File, where: str) -> JetDefinition:
    text = image.attrs.get("definition", "")
    try:
        stored = json.loads(text)
    except ValueError:
        stored = None
    if not isinstance(stored, dict):
        raise InputError(f"{where}: attribute definition is {text!r}, expected a JSON object")
    try:
        return JetDefinition.from_dict(stored)
    except InputError as error:
        raise InputError(f"{where}: attribute definition: {error}") from None


def _check_tables(image: h5py.File, definition: JetDefinition, where: str) -> None:
    expected = {
        "events": table_type(event_columns(definition)),
        "jets": table_type(jet_columns(definition)),
    }
    for name, kind in expected.items():
        dataset = plain_dataset(image, name, where)
        if dataset.dtype != kind or len(dataset.shape) != 1:
            raise InputError(
                f"{where}: {name!r} has columns {dataset.dtype.names or dataset.dtype}, "
                f"expected {kind.names}"
            )
    if definition.constituents:
        dataset = plain_dataset(image, "constituents", where)
        _require(
            dataset.dtype.kind == "i" and dataset.ndim == 1, where, "'constituents' is no list"
        )


def _check_rows(jets: Table, events: Table, where: str) -> None:
    """Raise InputError where jets and events do not belong together."""
    n_jets = events["n_jets"]
    _require(bool((n_jets >= 0).all()), where, "a negative number of jets")
    owner = np.repeat(np.arange(len(events)), n_jets)
    _require(
        len(owner) == len(jets) and bool((jets["event"] == owner).all()),
        where,
        "the jets' events do not match the numbers of jets",
    )
    _require(bool((jets["n_constituents"] > 0).all()), where, "a jet without constituents")
    finite = np.isfinite(jets["pt"]).all() and np.isfinite(events["weight"]).all()
    _require(bool(finite), where, "a pT or weight that is not finite")
    _require(bool((events["weight"] >= 0).all()), where, "a negative weight")


def _require(good: bool, where: str, what: str) -> None:
    if not good:
        raise InputError(f"{where}: {what}")
