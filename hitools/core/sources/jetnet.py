"""HDF5 tables of particles and jets, one row per event, padded: JetNet's and OmniLearn's.

What a column means is said by names (PARTICLE_COLUMNS, EVENT_COLUMNS). Each layout has a usual
order: JetNet's from its documentation (particle_features: etarel, phirel, ptrel, mask;
jet_features: pt, eta, mass, number of particles), OmniLearn's from what its preprocessing writes
(data: differences to the jet axis in eta and phi, ln(1 - ptrel), ln pT, ...; jet: pt, eta, mass,
number of particles). Neither stores the azimuth of the jet: phi is then relative to its axis.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import h5py
import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.features import GEOMETRY_COLUMNS, BoolArray, Float64Array, IntArray
from hitools.core.format import faults, layout
from hitools.core.format.faults import Fault, FaultHandler
from hitools.core.format.images import ImageSource, damage_told
from hitools.core.format.meta import EventMeta
from hitools.core.sources.foreign import InputOptions, RawEvents, accept, not_finite

IGNORED: Final = "-"
PARTICLE_COLUMNS: Final = {
    "pt": "transverse momentum",
    "log_pt": "its natural logarithm",
    "pt_fraction": "pT as a fraction of the jet's",
    "eta": "pseudorapidity",
    "delta_eta": "pseudorapidity minus the jet's",
    "phi": "azimuth",
    "delta_phi": "azimuth minus the jet's",
    "charge": "electric charge",
    "mask": "positive for a particle, otherwise padding",
    IGNORED: "ignored",
}
"""Meanings of a particle column."""

EVENT_COLUMNS: Final = {
    "pt": "transverse momentum of the jet",
    "eta": "pseudorapidity of the jet",
    "phi": "azimuth of the jet",
    "n_particles": "number of particles",
    "b": "impact parameter in fm",
    "n_coll": "nucleon-nucleon collisions",
    "n_part": "participants",
    "weight": "event weight",
    IGNORED: "ignored",
}
"""Meanings of a jet or event column."""

_SLAB_BYTES: Final = 1 << 26
_WAYS: Final = {
    "pt": ("pt", "log_pt", "pt_fraction"),
    "eta": ("eta", "delta_eta"),
    "phi": ("phi", "delta_phi"),
}
_NEEDED_OF_JET: Final = {"pt_fraction": "pt", "delta_eta": "eta", "delta_phi": "phi"}


@dataclass(frozen=True)
class Layout:
    """A pair of datasets, and what their columns usually mean.

    Attributes:
        particles: name of the dataset of shape (N, slots, columns).
        events: name of the dataset of shape (N, columns).
        particle_columns: meanings of the first columns.
        event_columns: likewise.
        widths: numbers of columns that it takes to be this layout, None for any.
    """

    particles: str
    events: str
    particle_columns: tuple[str, ...]
    event_columns: tuple[str, ...]
    widths: tuple[int, int] | None = None


LAYOUTS: Final = (
    Layout(
        "particle_features",
        "jet_features",
        ("delta_eta", "phi", "pt_fraction", "mask"),
        ("pt", "eta", IGNORED, "n_particles"),
    ),
    # Whole heavy-ion events under OmniLearn's names, with the columns of our own format.
    Layout(
        "data",
        "jet",
        (IGNORED, IGNORED, IGNORED, "pt", "eta", "phi"),
        (*[IGNORED] * 5, "b", "n_coll", "n_part", IGNORED, IGNORED, "n_particles"),
        widths=(6, 11),
    ),
    Layout(
        "data",
        "jet",
        ("delta_eta", "phi", IGNORED, "log_pt"),
        ("pt", "eta", IGNORED, "n_particles"),
    ),
)


def is_table(file: h5py.File) -> bool:
    """Whether it has the datasets of one of the layouts."""
    return any(known.particles in file and known.events in file for known in LAYOUTS)


class TableSource:
    """Events of a table; see EventSource."""

    def __init__(self, images: ImageSource, options: InputOptions, on_fault: FaultHandler) -> None:
        """Begin with an open file or stream, which is closed with the source.

        Raises:
            InputError: the columns do not give pT, eta and phi, or what else is wanted.
        """
        self.name = images.name
        self.meta = EventMeta(selection=options.selection)
        self._images = images
        self._options = options
        self._on_fault = on_fault
        table = _Table(images.first, options, self.name)
        self.n_events = table.n_events if images.is_file else None

    def __iter__(self) -> Iterator[EventBatch]:
        """The good events."""
        before = 0
        for image in self._images:
            table = _Table(image, self._options, self.name)
            for start in range(0, table.n_events, table.rows_at_once):
                stop = min(start + table.rows_at_once, table.n_events)
                raw = table.read(start, stop, before)
                batch = accept(raw, self._options.selection, self.name, self._on_fault)
                if len(batch):
                    yield batch
            before += table.n_events

    def close(self) -> None:
        """Close the input."""
        self._images.close()


class _Table:
    """The two datasets of one file, with the meaning of their columns."""

    def __init__(self, file: h5py.File, options: InputOptions, where: str) -> None:
        self._where = where
        self._options = options
        with damage_told(where):
            found = self._identify(file)
            self._check_shapes()
        self._column_of = _indices(
            options.particle_columns or found.particle_columns,
            self._particles.shape[2],
            f"{where}: {found.particles}",
        )
        self._event_column_of = _indices(
            options.event_columns or found.event_columns,
            self._events.shape[1],
            f"{where}: {found.events}",
        )
        self._check_meaning()
        self.n_events = len(self._events)
        row_bytes = 8 * int(np.prod(self._particles.shape[1:]))
        self.rows_at_once = max(_SLAB_BYTES // max(row_bytes, 1), 1)

    def _identify(self, file: h5py.File) -> Layout:
        for known in LAYOUTS:
            if known.particles in file and known.events in file:
                self._particles = layout.plain_dataset(file, known.particles, self._where)
                self._events = layout.plain_dataset(file, known.events, self._where)
                widths = self._particles.shape[-1:] + self._events.shape[-1:]
                if known.widths in (None, widths):
                    return known
        raise InputError(f"{self._where}: no table of particles: datasets {', '.join(file)}")

    def _check_shapes(self) -> None:
        shapes = self._particles.shape, self._events.shape
        kinds = self._particles.dtype.kind + self._events.dtype.kind
        if [len(shape) for shape in shapes] != [3, 2] or not set(kinds) <= set("fiu"):
            raise InputError(
                f"{self._where}: shapes {shapes[0]} and {shapes[1]}, "
                "expected numbers of shape (N, slots, columns) and (N, columns)"
            )
        if shapes[0][0] != shapes[1][0]:
            raise InputError(
                f"{self._where}: {self._particles.name} has {shapes[0][0]} rows, "
                f"{self._events.name} has {shapes[1][0]}"
            )

    def _check_meaning(self) -> None:
        for quantity, ways in _WAYS.items():
            given = [way for way in ways if way in self._column_of]
            if len(given) != 1:
                raise InputError(
                    f"{self._where}: {quantity} of a particle must be in exactly one column, as "
                    f"{' or '.join(ways)}: see --particle-columns"
                )
            needed = _NEEDED_OF_JET.get(given[0])
            if needed and needed not in self._event_column_of:
                raise InputError(
                    f"{self._where}: column {given[0]} needs the jet's {needed}: "
                    "see --event-columns"
                )
        if self._options.charge == "charged" and "charge" not in self._column_of:
            raise InputError(
                f"{self._where}: nothing tells charged particles from neutral ones: name a column "
                "charge (--particle-columns), or say that all are charged (--assume-charged), "
                "or keep all (--all)"
            )
        missing = [name for name in GEOMETRY_COLUMNS if name not in self._event_column_of]
        if self._options.geometry and missing:
            raise InputError(
                f"{self._where}: no column for {', '.join(missing)} (see --event-columns; "
                "--no-geometry sets b, n_coll and n_part to 0)"
            )

    def read(self, start: int, stop: int, before: int) -> RawEvents:
        """Rows start to stop - 1 of a file that follows `before` events."""
        with damage_told(f"{self._where}: rows {start} to {stop - 1}"):
            slots = self._particles[start:stop].astype(np.float64)
            events = self._events[start:stop].astype(np.float64)
        real = self._real(slots)
        counts = real.sum(axis=1)
        jet = {name: events[:, index] for name, index in self._event_column_of.items()}
        flat = {name: slots[:, :, index][real] for name, index in self._column_of.items()}
        row = np.repeat(np.arange(len(counts)), counts)
        found = self._not_finite(slots, flat, counts, before + start)
        if "n_particles" in jet:
            for bad in np.flatnonzero(jet["n_particles"] != counts):
                claim = (
                    f"n_particles is {jet['n_particles'][bad]:g}, {counts[bad]} slots are filled"
                )
                found[int(bad)] = Fault(before + start + int(bad), faults.WRONG_COUNT, claim)
        geometry = np.zeros((stop - start, len(GEOMETRY_COLUMNS)))
        if self._options.geometry:
            geometry = np.stack([jet[name] for name in GEOMETRY_COLUMNS], axis=1)
        with np.errstate(over="ignore", invalid="ignore"):  # accept() finds what is not finite
            pt = self._pt(flat, jet, row) * self._options.gev_per_unit
            eta = flat["eta"] if "eta" in flat else flat["delta_eta"] + jet["eta"][row]
            phi = flat["phi"] if "phi" in flat else flat["delta_phi"] + jet["phi"][row]
        return RawEvents(
            before + start,
            counts,
            pt,
            eta,
            phi,
            flat["charge"] != 0 if "charge" in flat and self._options.charge != "all" else None,
            geometry,
            jet.get("weight", np.ones(stop - start)),
            found,
        )

    def _not_finite(
        self, slots: Float64Array, flat: dict[str, Float64Array], counts: IntArray, first: int
    ) -> dict[int, Fault]:
        """Events whose mask or charges are not finite, which no momentum tells."""
        found = {}
        if "charge" in flat and self._options.charge != "all":
            found = not_finite("charge", flat["charge"], counts, first)
        if "mask" in self._column_of:
            mask = slots[:, :, self._column_of["mask"]]
            found |= not_finite("mask", mask.ravel(), np.full(len(mask), mask.shape[1]), first)
        return found

    def _real(self, slots: Float64Array) -> BoolArray:
        """(rows, slots) where there is a particle: padding is 0 throughout."""
        if "mask" in self._column_of:
            mask: BoolArray = slots[:, :, self._column_of["mask"]] > 0
            return mask
        return (slots != 0).any(axis=2)

    @staticmethod
    def _pt(
        flat: dict[str, Float64Array], jet: dict[str, Float64Array], row: IntArray
    ) -> Float64Array:
        if "pt" in flat:
            return flat["pt"]
        if "log_pt" in flat:
            return np.exp(flat["log_pt"])
        return flat["pt_fraction"] * jet["pt"][row]


def _indices(names: tuple[str, ...], width: int, where: str) -> dict[str, int]:
    if len(names) > width:
        raise InputError(f"{where} has {width} columns, {len(names)} were named: {','.join(names)}")
    twice = {name for name in names if name != IGNORED and names.count(name) > 1}
    if twice:
        raise InputError(f"{where}: {', '.join(sorted(twice))} named twice: {','.join(names)}")
    return {name: index for index, name in enumerate(names) if name != IGNORED}
