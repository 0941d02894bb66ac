"""Events that cannot be used: what is wrong with one, and what becomes of it.

Whoever reads events hands each bad one to a handler and leaves it out. The handler of every command
but hi-prep is `refuse`, which ends the reading; hi-prep may drop and count instead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hitools.core.errors import InputError

NOT_FINITE: Final = "with values that are not finite"
WRONG_COUNT: Final = "whose n_particles does not match"
BAD_WEIGHT: Final = "with a negative weight"
NEGATIVE_PT: Final = "with a negative pT"
EMPTY: Final = "without particles after the selection"
NO_NUMBER: Final = "with text where numbers should be"
UNKNOWN_CHARGE: Final = "with particles of unknown charge"
CUT_OFF: Final = "cut off in the middle"


@dataclass(frozen=True)
class Fault:
    """What is wrong with one event.

    Attributes:
        event: its index in its source, from 0.
        reason: one of the constants above, for counting: "3 events <reason>".
        detail: for a message about this event.
    """

    event: int
    reason: str
    detail: str


FaultHandler = Callable[[str, Fault], None]
"""Called with the name of the source and the fault; the event is left out when it returns."""


def refuse(source: str, fault: Fault) -> None:
    """Raise InputError."""
    raise InputError(f"{source}: event {fault.event}: {fault.detail}")
