"""Is a particle charged? From its PDG id, as the numbering scheme of the PDG has it."""

from functools import lru_cache

import numpy as np

from hitools.core.errors import InputError
from hitools.core.features import BoolArray, IntArray
from hitools.core.format.faults import UNKNOWN_CHARGE, Fault


def find_charged(
    pdg_ids: IntArray, counts: IntArray, first: int
) -> tuple[BoolArray, dict[int, Fault]]:
    """Which particles are charged.

    Args:
        pdg_ids: (n_total,) of the particles of some events, one event after another.
        counts: (n_events,) particles per event.
        first: index of the first event in its file.

    Returns:
        (n_total,) bool, and a fault for each event with an id outside the numbering scheme, by its
        place among these events.

    Raises:
        InputError: the package that knows the scheme is missing.
    """
    unique, inverse = np.unique(pdg_ids, return_inverse=True)
    charges = [_three_charge(int(pdg_id)) for pdg_id in unique]
    charged = np.array([bool(charge) for charge in charges], np.bool_)
    unknown = np.array([charge is None for charge in charges], np.bool_)
    event = np.repeat(np.arange(len(counts)), counts)
    faults = {}
    for bad in np.flatnonzero(unknown[inverse])[::-1]:
        row = int(event[bad])
        detail = f"PDG id {pdg_ids[bad]} of a final-state particle has no known charge"
        faults[row] = Fault(first + row, UNKNOWN_CHARGE, detail)
    return charged[inverse], faults


@lru_cache(maxsize=1 << 14)
def _three_charge(pdg_id: int) -> int | None:
    """Charge in units of a third of e, None for what is no PDG id."""
    try:
        from particle.pdgid import three_charge
    except ImportError:
        raise InputError(
            "charges from PDG ids need the package particle: pip install particle"
        ) from None
    charge: int | None = three_charge(pdg_id)
    return charge
