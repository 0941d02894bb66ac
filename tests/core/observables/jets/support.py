"""Reference events and jets, and FastJet's classic interface as a second way to the same numbers.

tests/data/fastjet_reference.npz is a selection from the reference numbers of the project (jets
that a C++ FastJet 3.5 program found in real Angantyr events). Where the whole of them lies in
../shared/golden beside the repository, that is used.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hitools.core.batch import EventBatch
from hitools.core.observables.jets.clustering import _fastjet
from hitools.core.observables.jets.kinematics import four_momenta

ROOT = Path(__file__).parents[4]
GOLDEN = ROOT.parent / "shared" / "golden"
EXTRACT = ROOT / "tests" / "data" / "fastjet_reference.npz"
PION_MASS = 0.13957039

Array = npt.NDArray[Any]


class Reference(NamedTuple):
    """Events and the jets that C++ FastJet finds in them, columns by name."""

    events: EventBatch
    jets: dict[str, Array]


def reference(system: str) -> Reference:
    """System is "oo" or "pbpb"."""
    if GOLDEN.is_dir():
        with np.load(GOLDEN / f"fastjet_{system}_events.npz") as file:
            particles, counts = file["pt_eta_phi"], file["n_particles"]
        rows = np.genfromtxt(GOLDEN / f"fastjet_{system}_jets.csv", delimiter=",", names=True)
        return Reference(events_of(particles, counts), {n: rows[n] for n in rows.dtype.names})
    with np.load(EXTRACT) as file:
        events = events_of(file[f"{system}_pt_eta_phi"], file[f"{system}_n_particles"])
        prefix = f"{system}_jets_"
        return Reference(
            events, {n.removeprefix(prefix): file[n] for n in file if n.startswith(prefix)}
        )


def events_of(pt_eta_phi: Array, n_particles: Array | list[int] | None = None) -> EventBatch:
    """A batch from (n, 3) particles; one event where no counts are given."""
    pt_eta_phi = np.asarray(pt_eta_phi, np.float32).reshape(-1, 3)
    counts = np.array([len(pt_eta_phi)] if n_particles is None else n_particles, np.int64)
    nothing = np.zeros(len(counts))
    return EventBatch.from_particles(*pt_eta_phi.T, counts, nothing, nothing, nothing)


def momenta_of(batch: EventBatch, mass: float = PION_MASS) -> Array:
    """(4, n) four-momenta of all particles."""
    return four_momenta(batch.particle("pt"), batch.particle("eta"), batch.particle("phi"), mass)


def event_momenta(batch: EventBatch, mass: float = PION_MASS) -> Iterator[Array]:
    """(4, n) four-momenta of each event in turn."""
    for k in range(len(batch)):
        yield momenta_of(batch[k : k + 1], mass)


def pseudojets(momenta: Array) -> list[Any]:
    """FastJet's own objects, each with its index."""
    library = _fastjet()._swig
    jets = [library.PseudoJet(*map(float, column)) for column in momenta.T]
    for index, jet in enumerate(jets):
        jet.set_user_index(index)
    return jets


def definition(algorithm: str, radius: float) -> Any:
    """FastJet's jet definition in the E-scheme."""
    library = _fastjet()._swig
    return library.JetDefinition(
        getattr(library, f"{algorithm}_algorithm"), radius, library.E_scheme, library.Best, 1
    )


def classic_jets(momenta: Array, algorithm: str, radius: float, pt_min: float) -> tuple[Any, Any]:
    """The jets by falling pT, and their sequence (which has to stay alive)."""
    library = _fastjet()._swig
    sequence = library.ClusterSequence(pseudojets(momenta), definition(algorithm, radius))
    return library.sorted_by_pt(sequence.inclusive_jets(pt_min)), sequence
