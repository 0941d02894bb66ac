"""Representations by name: what config.json and the training options refer to."""

from collections.abc import Mapping
from typing import Any, Final

from hitools.core.errors import InputError
from hitools.core.representation.aligned import Aligned
from hitools.core.scaling import Representation, Standardised

REPRESENTATIONS: Final[dict[str, type[Representation]]] = {
    one.name: one for one in (Standardised, Aligned)
}
"""Representations by name."""


def representation_from_dict(values: Mapping[str, Any]) -> Representation:
    """Whatever config.json holds. Raises InputError for an unknown name."""
    name = values.get("name")
    if name not in REPRESENTATIONS:
        raise InputError(f"representation {name!r}, expected one of {', '.join(REPRESENTATIONS)}")
    return REPRESENTATIONS[name].from_dict(values)
