"""ROOT trees (TTree and RNTuple) with one entry per event and its particles in jagged branches.

Read through uproot. A quantity is looked for under its own name, or under the one that
InputOptions.branches gives it; an event quantity may be the sum of two branches: "A+B".
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.features import GEOMETRY_COLUMNS, BoolArray, IntArray
from hitools.core.format import faults
from hitools.core.format.faults import Fault, FaultHandler
from hitools.core.format.meta import EventMeta
from hitools.core.sources.charge import find_charged
from hitools.core.sources.foreign import (
    InputOptions,
    RawEvents,
    accept,
    not_finite,
    spherical,
)

MAGIC: Final = b"root"
CARTESIAN: Final = ("px", "py", "pz")
SPHERICAL: Final = ("pt", "eta", "phi")
QUANTITIES: Final = (
    *SPHERICAL,
    *CARTESIAN,
    *("charge", "pid", "status"),
    *GEOMETRY_COLUMNS,
    *("weight", "n_particles"),
)
_STEP: Final = "64 MB"
_FINAL_STATE: Final = 1
_LARGEST_ID: Final = 1 << 40
"""No PDG id has more than ten digits."""
_NUMERIC: Final = re.compile(r"\* (u?int|float|bool)\d*$")


class RootSource:
    """Events of one tree; see EventSource."""

    def __init__(self, path: Path, options: InputOptions, on_fault: FaultHandler) -> None:
        """Open the file, find the tree and its branches.

        Raises:
            InputError: uproot is missing, or the tree or a branch is.
        """
        try:
            import uproot
        except ImportError:
            raise InputError("ROOT files need uproot: pip install 'hitools[root]'") from None
        self.name = str(path)
        self.meta = EventMeta(selection=options.selection)
        self._options = options
        self._on_fault = on_fault
        with _damage_told(self.name):
            self._file = uproot.open(path)
        try:
            with _damage_told(self.name):
                self._tree = self._find_tree()
                self.n_events: int | None = int(self._tree.num_entries)
            self._branches = self._find_branches()
            self._momenta, self._charge = self._choose()
        except BaseException:
            self.close()
            raise

    def _find_tree(self) -> Any:
        kinds = self._file.classnames()
        trees = {
            key.partition(";")[0]
            for key, kind in kinds.items()
            if kind in ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")
        }
        name = self._options.tree
        listed = ", ".join(sorted(trees)) or "none"
        if name is not None and name not in trees:
            raise InputError(f"{self.name}: no tree {name!r}; trees in it: {listed}")
        if name is None and len(trees) != 1:
            raise InputError(f"{self.name}: say which tree with --tree; trees in it: {listed}")
        return self._file[name or trees.pop()]

    def _find_branches(self) -> dict[str, list[Any]]:
        """The branches of each quantity that has any; InputError where a stated one is missing."""
        with _damage_told(self.name):
            known = list(self._tree.keys())
        found = {}
        for quantity in QUANTITIES:
            names = self._options.branches.get(quantity, quantity).split("+")
            if set(known).issuperset(names):
                found[quantity] = [self._tree[name] for name in names]
            elif quantity in self._options.branches:
                raise InputError(
                    f"{self.name}: no branch {'+'.join(names)!r}; branches in it: "
                    + ", ".join([*known[:40], *(["..."] if len(known) > 40 else [])])
                )
        return found

    def _choose(self) -> tuple[tuple[str, ...], str | None]:
        """The momentum components to use, and what tells charged particles, None for nothing.

        Raises InputError where something that is wanted is missing.
        """
        options, branches = self._options, self._branches
        momenta = SPHERICAL
        if set(CARTESIAN) & set(options.branches) or not branches.keys() >= set(SPHERICAL):
            momenta = CARTESIAN
        if not branches.keys() >= set(momenta):
            raise InputError(
                f"{self.name}: no branches pt, eta, phi or px, py, pz; say what they are called "
                f"(--branch pt=NAME); branches in it: {', '.join(list(self._tree.keys())[:40])}"
            )
        missing = [name for name in GEOMETRY_COLUMNS if name not in branches]
        if options.geometry and missing:
            raise InputError(
                f"{self.name}: no branch for {', '.join(missing)} (--branch {missing[0]}=NAME; "
                "--no-geometry sets b, n_coll and n_part to 0)"
            )
        known = [quantity for quantity in ("charge", "pid") if quantity in branches]
        if options.charge == "all" or (options.charge == "assumed" and not known):
            return momenta, None
        if known:
            return momenta, known[0]
        raise InputError(
            f"{self.name}: nothing tells charged particles from neutral ones: name a branch "
            "(--branch charge=NAME or pid=NAME), or say that all are charged (--assume-charged), "
            "or keep all (--all)"
        )

    def __iter__(self) -> Iterator[EventBatch]:
        """The good events."""
        n_events = int(self._tree.num_entries)
        with _damage_told(self.name):
            step = max(int(self._tree.num_entries_for(_STEP)), 1)
        for start in range(0, n_events, step):
            raw = self._read(start, min(start + step, n_events))
            batch = accept(raw, self._options.selection, self.name, self._on_fault)
            if len(batch):
                yield batch

    def _read(self, start: int, stop: int) -> RawEvents:
        arrays = {
            name: self._array(name, start, stop, dimension=2)
            for name in (*self._momenta, self._charge, "status")
            if name in self._branches
        }
        counts, found = self._counts(arrays, start, stop)
        usable = np.ones(stop - start, np.bool_)
        usable[list(found)] = False
        flat = {name: _flatten(array, usable) for name, array in arrays.items()}
        for name in {"charge", "pid", "status"} & flat.keys():
            found = not_finite(name, flat[name], counts, start) | found
        if "status" in flat:
            final = flat["status"] == _FINAL_STATE
            event = np.repeat(np.arange(len(counts)), counts)
            flat = {name: values[final] for name, values in flat.items()}
            counts = np.bincount(event[final], minlength=len(counts))
        momenta = [flat[name].astype(np.float64) for name in self._momenta]
        if self._momenta == CARTESIAN:
            momenta = list(spherical(*momenta))
        pt, eta, phi = momenta
        charged: BoolArray | None = None
        if self._charge == "charge":
            charged = flat["charge"] != 0
        elif self._charge == "pid":
            charged, unknown = find_charged(_whole(flat["pid"]), counts, start)
            found = unknown | found
        geometry = np.zeros((stop - start, 3))
        if self._options.geometry:
            geometry = np.stack(
                [self._column(name, start, stop) for name in GEOMETRY_COLUMNS], axis=1
            )
        weights = np.ones(stop - start)
        if "weight" in self._branches:
            weights = self._column("weight", start, stop)
        with np.errstate(invalid="ignore"):
            pt = pt * self._options.gev_per_unit
        return RawEvents(start, counts, pt, eta, phi, charged, geometry, weights, found)

    def _counts(
        self, arrays: dict[str, Any], start: int, stop: int
    ) -> tuple[IntArray, dict[int, Fault]]:
        """Particles per event, 0 where branches disagree, and those faults by place."""
        import awkward

        lengths = {
            name: awkward.to_numpy(awkward.num(array, axis=1)) for name, array in arrays.items()
        }
        if "n_particles" in self._branches:
            lengths["n_particles"] = self._column("n_particles", start, stop)
        reference = self._momenta[0]
        counts = lengths[reference].astype(np.int64)
        found = {}
        for name, length in lengths.items():
            for row in np.flatnonzero(length != lengths[reference]):
                claim = (
                    f"n_particles is {length[row]:g}"
                    if name == "n_particles"
                    else f"{name} has {length[row]} values"
                )
                detail = f"{claim}, {reference} has {counts[row]}"
                found[int(row)] = Fault(start + int(row), faults.WRONG_COUNT, detail)
        counts[list(found)] = 0
        return counts, found

    def _column(self, name: str, start: int, stop: int) -> Any:
        """(n,) float64 event quantity."""
        import awkward

        array = self._array(name, start, stop, dimension=1)
        return awkward.to_numpy(array).astype(np.float64)

    def _array(self, name: str, start: int, stop: int, *, dimension: int) -> Any:
        """A quantity of one value per event (dimension 1) or per particle (2)."""
        with _damage_told(self.name):
            parts = [
                branch.array(entry_start=start, entry_stop=stop, library="ak")
                for branch in self._branches[name]
            ]
        for part in parts:
            if part.ndim != dimension or not _NUMERIC.search(str(part.type)):
                raise InputError(
                    f"{self.name}: branch {self._options.branches.get(name, name)} is {part.type}, "
                    f"expected one number per {'event' if dimension == 1 else 'particle'}"
                )
        return sum(parts[1:], parts[0])

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _flatten(array: Any, usable: BoolArray) -> Any:
    import awkward

    return awkward.to_numpy(awkward.flatten(array[usable], axis=1))


def _whole(values: Any) -> IntArray:
    """As int64; 0 for what is not finite, and large ones limited."""
    with np.errstate(invalid="ignore"):
        values = np.nan_to_num(values, posinf=0, neginf=0)
        return np.asarray(np.clip(values, -_LARGEST_ID, _LARGEST_ID).astype(np.int64))


@contextmanager
def _damage_told(where: str) -> Iterator[None]:
    """Whatever uproot says of damaged bytes becomes an InputError, in one line.

    It says it with assertions, and the libraries of each compression with errors of their own.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        said = str(error).strip().partition("\n")[0] or f"damaged ({type(error).__name__})"
        raise InputError(f"{where}: cannot be read: {said}") from None
