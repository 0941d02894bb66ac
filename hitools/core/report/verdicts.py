"""From a number, its error, its floor, the paper and the gates to one word.

"at the floor": within two standard errors no worse than two halves of the reference are.
"like the paper": worse than that, and within two standard errors no worse than the paper's value.
"behind the paper", "differs": neither. A gate decides over all of these.
"""

import math
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hitools.core.compare.quantity import Gate, Quantity
from hitools.core.errors import InputError
from hitools.core.report.names import KEY_NUMBERS, Aim, KeyNumber

N_ERRORS: Final = 2.0
"""Standard errors that a verdict grants."""

_DISTANCE: Final[dict[Aim, Callable[[float], float]]] = {
    "low": lambda x: x,
    "high": lambda x: -x,
    "one": lambda x: abs(x - 1),
    "half": lambda x: max(x, 0.5),
}


@dataclass(frozen=True)
class Row:
    """A row of the first table.

    Attributes:
        key: what it is.
        quantity: the number found.
        paper: the paper's value, or None.
        verdict: a word or two.
        good: 2 good, 1 middling, 0 bad, None where there is nothing to judge.
    """

    key: KeyNumber
    quantity: Quantity
    paper: float | None
    verdict: str
    good: int | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **self.quantity.as_dict(),
            "label": self.key.label,
            "paper": self.paper,
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class GateOutcome:
    """A gate and what became of it; holds is None where no such number was found."""

    gate: Gate
    value: float
    holds: bool | None


def read_gates(path: Path) -> tuple[Gate, ...]:
    """Gates from a TOML file: `require = ["auc.event<0.55", ...]`.

    Raises InputError for a file that cannot be read, is no TOML, or holds anything else.
    """
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from None
    conditions = content.get("require")
    if set(content) != {"require"} or not isinstance(conditions, list) or not conditions:
        raise InputError(f"{path}: expected one list, require = ['NAME<VALUE', ...]")
    gates = []
    for condition in conditions:
        try:
            gates.append(Gate.parse(str(condition)))
        except InputError as error:
            raise InputError(f"{path}: {str(error).removeprefix('--require ')}") from None
    return tuple(gates)


def outcomes(gates: Sequence[Gate], quantities: Sequence[Quantity]) -> list[GateOutcome]:
    """What became of each gate."""
    values = {quantity.name: quantity.value for quantity in quantities}
    return [
        GateOutcome(gate, values[gate.name], gate.holds(quantities))
        if gate.name in values
        else GateOutcome(gate, math.nan, None)
        for gate in gates
    ]


def key_rows(
    quantities: Sequence[Quantity], judged: Sequence[GateOutcome], system: str | None
) -> list[Row]:
    """The rows of the first table: key numbers that were found, then gated ones not among them.

    Args:
        quantities: all numbers.
        judged: all gates.
        system: of the reference, e.g. "O-O".
    """
    found = {quantity.name: quantity for quantity in quantities}
    keys = [key for key in KEY_NUMBERS if key.quantity in found]
    known = {key.quantity for key in keys}
    gated = dict.fromkeys(outcome.gate.name for outcome in judged)
    keys += [KeyNumber(n, n, "low") for n in gated if n in found and n not in known]
    return [_row(key, found[key.quantity], judged, key.paper_value(system)) for key in keys]


def _row(
    key: KeyNumber, quantity: Quantity, judged: Sequence[GateOutcome], paper: float | None
) -> Row:
    word, good = _verdict(key, quantity, judged, paper)
    return Row(key, quantity, paper, word, good)


def _verdict(
    key: KeyNumber, quantity: Quantity, judged: Sequence[GateOutcome], paper: float | None
) -> tuple[str, int | None]:
    mine = [outcome for outcome in judged if outcome.gate.name == quantity.name]
    if mine:
        failed = [str(o.gate).removeprefix(quantity.name) for o in mine if not o.holds]
        return (f"FAILS {' '.join(failed)}", 0) if failed else ("passes its gate", 2)
    if math.isnan(quantity.value):
        by_construction = quantity.name.startswith("q.")
        return ("closes by construction" if by_construction else "not defined"), None
    distance = _DISTANCE[key.aim]
    granted = 0.0 if math.isnan(quantity.error) else N_ERRORS * quantity.error
    least = distance(quantity.value) - granted
    if least <= distance(quantity.floor):
        return "at the floor", 2
    if paper is not None:
        return ("like the paper", 1) if least <= distance(paper) else ("behind the paper", 0)
    return ("no floor", None) if math.isnan(quantity.floor) else ("differs", 0)
