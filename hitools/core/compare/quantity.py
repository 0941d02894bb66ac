"""A compared number with its uncertainty and floor, and gates on such numbers.

Every validation command returns a list of Quantity; tables, JSON and --require all read it.
"""

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from hitools.core.errors import InputError

_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_FEW: Final = 12
"""Names in a message; a report has two hundred."""
_GATE = re.compile(r"\s*([^<>=\s]+)\s*(<=|>=|<|>)\s*(\S+)\s*")


@dataclass(frozen=True)
class Quantity:
    """One number of a result.

    Attributes:
        name: as used by --require, e.g. "w1.pt".
        value: the number.
        error: its one-sigma uncertainty; NaN where none is defined.
        floor: the same number between two halves of the reference; NaN where it has none.
        unit: "GeV/c", "rad", "1", ...
    """

    name: str
    value: float
    error: float = math.nan
    floor: float = math.nan
    unit: str = "1"

    def as_dict(self) -> dict[str, str | float | None]:
        """The JSON form; see known_to_json."""
        numbers = {"value": self.value, "error": self.error, "floor": self.floor}
        return {"name": self.name, **known_to_json(numbers), "unit": self.unit}


def known_to_json(values: Any) -> Any:
    """Plain values with null for NaN and infinity, which JSON does not know."""
    if isinstance(values, float):
        return float(values) if math.isfinite(values) else None
    if isinstance(values, dict):
        return {name: known_to_json(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [known_to_json(value) for value in values]
    return values


@dataclass(frozen=True)
class Gate:
    """A condition NAME<VALUE on one quantity."""

    name: str
    comparison: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> "Gate":
        """Read 'NAME<VALUE' (also <=, >, >=). Raises InputError where it is not of that form."""
        match = _GATE.fullmatch(text)
        if match is None:
            raise InputError(
                f"--require {text!r}: expected NAME<VALUE, NAME<=VALUE, NAME>VALUE or >="
            )
        name, comparison, limit = match.groups()
        try:
            number = float(limit)
        except ValueError:
            number = math.nan
        if math.isnan(number):
            raise InputError(f"--require {text!r}: {limit!r} is not a number")
        return cls(name, comparison, number)

    def holds(self, quantities: Sequence[Quantity]) -> bool:
        """Whether the quantity satisfies the condition; a NaN never does.

        Raises InputError where no quantity has that name: a gate that looks at nothing would
        always pass.
        """
        for quantity in quantities:
            if quantity.name == self.name:
                return _COMPARISONS[self.comparison](quantity.value, self.limit)
        known = [quantity.name for quantity in quantities]
        raise InputError(f"--require {self}: no such quantity ({_shown(self.name, known)})")

    def __str__(self) -> str:
        """As the user wrote it."""
        return f"{self.name}{self.comparison}{self.limit:g}"


def _shown(name: str, known: Sequence[str]) -> str:
    """What there is instead of a name: all where they are few, else the most similar."""
    if len(known) <= _FEW:
        return f"there are {', '.join(known)}"
    similar = get_close_matches(name, known, n=_FEW, cutoff=0.4) or known[:_FEW]
    return f"of {len(known)} the most similar are {', '.join(similar)}; --json has all"
