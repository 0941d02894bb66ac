"""What is known of a set of events as a whole: the root attributes of an event file."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any, Final, Literal, Self

import h5py
import numpy as np

from hitools.core.errors import InputError
from hitools.core.features import EVENT_COLUMNS, EVENT_UNITS, PARTICLE_COLUMNS, PARTICLE_UNITS
from hitools.core.format import provenance
from hitools.core.format.provenance import Chain

FORMAT: Final = "hitools-events"
FORMAT_VERSION: Final = 1

EventVectors = Literal["particles", "generated"]


@dataclass(frozen=True)
class Selection:
    """Which particles of an event were kept.

    Attributes:
        charged: charged particles only.
        eta_max: |eta| limit.
        pt_min: lower pT limit in GeV/c.
    """

    charged: bool = True
    eta_max: float = 2.5
    pt_min: float = 0.0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What asdict() gave. Raises ValueError or TypeError where it is no selection."""
        selection = cls(**values)
        if not isinstance(selection.charged, bool):
            raise TypeError(f"charged is {selection.charged!r}")
        for name in ("eta_max", "pt_min"):
            limit = getattr(selection, name)
            # A bool counts as an int.
            if isinstance(limit, bool) or not isinstance(limit, int | float):
                raise TypeError(f"{name} is {limit!r}")
        if not (0 < selection.eta_max < math.inf and 0 <= selection.pt_min < math.inf):
            raise ValueError(f"limits {selection.eta_max} and {selection.pt_min}")
        return selection

    def __str__(self) -> str:
        """For people: "charged, |eta| < 2.5, pT > 0.15 GeV/c"."""
        kind = "charged" if self.charged else "charged and neutral"
        cut = f", pT > {self.pt_min:g} GeV/c" if self.pt_min > 0 else ""
        return f"{kind}, |eta| < {self.eta_max:g}{cut}"


@dataclass(frozen=True)
class EventMeta:
    """Attributes of a file or stream of events; None or NaN where nobody said.

    Attributes:
        system: e.g. "O-O".
        sqrt_s_nn_gev: energy per nucleon pair in GeV.
        selection: of particles.
        event_vectors: "particles" where the stored event vectors follow from the stored
            particles, "generated" where a model made them on their own.
        provenance: the chain of commands.
    """

    system: str | None = None
    sqrt_s_nn_gev: float = math.nan
    selection: Selection | None = None
    event_vectors: EventVectors = "particles"
    provenance: Chain = ()


def merge(first: EventMeta, *others: EventMeta) -> EventMeta:
    """What holds for all of these events together: what they disagree on becomes unknown."""
    return reduce(_merge_two, others, first)


def _merge_two(a: EventMeta, b: EventMeta) -> EventMeta:
    if a is b:
        return a
    same_energy = a.sqrt_s_nn_gev == b.sqrt_s_nn_gev
    return EventMeta(
        system=a.system if a.system == b.system else None,
        sqrt_s_nn_gev=a.sqrt_s_nn_gev if same_energy else math.nan,
        selection=a.selection if a.selection == b.selection else None,
        event_vectors=a.event_vectors if a.event_vectors == b.event_vectors else "generated",
        provenance=provenance.merge([a.provenance, b.provenance]),
    )


def disagreements(a: EventMeta, b: EventMeta) -> list[str]:
    """Sentences on what two sets of events do not share, for a warning."""

    def energy(meta: EventMeta) -> str:
        return f"{meta.sqrt_s_nn_gev:g} GeV" if meta.sqrt_s_nn_gev > 0 else "unknown"

    pairs = {
        "system": (a.system or "unknown", b.system or "unknown"),
        "sqrt_s_nn": (energy(a), energy(b)),
        "selection": (str(a.selection or "unknown"), str(b.selection or "unknown")),
        "event vectors": (a.event_vectors, b.event_vectors),
    }
    return [f"{name} {one} and {two}" for name, (one, two) in pairs.items() if one != two]


def write_attributes(file: h5py.File, meta: EventMeta) -> None:
    """Set every root attribute but `complete`; unknown ones are left out."""
    attributes = file.attrs
    attributes["format"] = FORMAT
    attributes["format_version"] = FORMAT_VERSION
    attributes["event_columns"] = list(EVENT_COLUMNS)
    attributes["event_units"] = list(EVENT_UNITS.values())
    attributes["particle_columns"] = list(PARTICLE_COLUMNS)
    attributes["particle_units"] = list(PARTICLE_UNITS.values())
    write_origin(file, meta)


def write_origin(file: h5py.File, meta: EventMeta) -> None:
    """Set the attributes that say which events these are; unknown ones are left out."""
    attributes = file.attrs
    attributes["event_vectors"] = meta.event_vectors
    if meta.system is not None:
        attributes["system"] = meta.system
    if not math.isnan(meta.sqrt_s_nn_gev):
        attributes["sqrt_s_nn_gev"] = meta.sqrt_s_nn_gev
    if meta.selection is not None:
        attributes["selection"] = json.dumps(asdict(meta.selection))
    if meta.provenance:
        attributes["provenance"] = provenance.to_json(meta.provenance)


def read_attributes(file: h5py.File, where: str) -> EventMeta:
    """The metadata of an open file of our format, columns and version checked.

    Raises InputError that names `where` for another format, a later version, other columns, or
    a file that was never completed.
    """
    check_format(file, FORMAT, FORMAT_VERSION, where)
    for name, expected in (
        ("event_columns", EVENT_COLUMNS),
        ("particle_columns", PARTICLE_COLUMNS),
    ):
        found = tuple(file.attrs.get(name, ()))
        if found != expected:
            raise InputError(f"{where}: attribute {name} is {found}, expected {expected}")
    return read_origin(file, where)


def check_format(file: h5py.File, expected: str, newest: int, where: str) -> None:
    """Raise InputError for another format, a version after the newest, or an incomplete file."""
    attributes = file.attrs
    found = attributes.get("format")
    if not isinstance(found, str) or found != expected:
        raise InputError(f"{where}: attribute format is {found!r}, expected {expected!r}")
    version = attributes.get("format_version")
    if not _is_number(version) or not 1 <= version <= newest:
        raise InputError(f"{where}: format_version is {version}; this hitools reads up to {newest}")
    complete = attributes.get("complete", False)
    if not isinstance(complete, bool | np.bool_ | int | np.integer) or not complete:
        raise InputError(f"{where}: not complete: its writer did not finish")


def read_origin(file: h5py.File, where: str) -> EventMeta:
    """What write_origin wrote. Raises InputError where it is not in order."""
    attributes = file.attrs
    return EventMeta(
        system=_system(attributes.get("system"), where),
        sqrt_s_nn_gev=_energy(attributes.get("sqrt_s_nn_gev", math.nan), where),
        selection=_selection(attributes.get("selection"), where),
        event_vectors=_event_vectors(attributes.get("event_vectors", "particles"), where),
        provenance=provenance.from_json(attributes.get("provenance", "[]"), where),
    )


def foreign_attributes(file: h5py.File, where: str) -> EventMeta:
    """What may be assumed of a file without our attributes (it may still say event_vectors)."""
    return EventMeta(
        event_vectors=_event_vectors(file.attrs.get("event_vectors", "particles"), where)
    )


# An attribute may be a number, text, bytes, an array or h5py.Empty, whoever wrote it.


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating)


def _system(value: object, where: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise InputError(f"{where}: attribute system is {value!r}, expected text")


def _energy(value: Any, where: str) -> float:
    """NaN is unknown."""
    if _is_number(value) and (math.isnan(value) or 0 < value < math.inf):
        return float(value)
    raise InputError(f"{where}: attribute sqrt_s_nn_gev is {value!r}, expected a number above 0")


def _selection(value: Any, where: str) -> Selection | None:
    if value is None:
        return None
    try:
        return Selection.from_dict(json.loads(value))
    except (ValueError, TypeError, RecursionError):
        raise InputError(
            f"{where}: attribute selection is {value!r}, "
            'expected {"charged": ..., "eta_max": ..., "pt_min": ...}'
        ) from None


def _event_vectors(value: object, where: str) -> EventVectors:
    if isinstance(value, str) and value == "particles":
        return "particles"
    if isinstance(value, str) and value == "generated":
        return "generated"
    raise InputError(
        f"{where}: attribute event_vectors is {value!r}, expected 'particles' or 'generated'"
    )
