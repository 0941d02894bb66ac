"""Signals that end a command: SIGTERM and SIGHUP unwind it as Ctrl-C does, once and surely.

A batch system sends SIGTERM to every process of a job, and so does each that started another:
what comes soon after the first is the same wish and does not disturb the cleaning up.
"""

import math
import os
import signal
import sys
import threading
import time
from typing import Final, NoReturn

from hitools.core.interrupts import ENDING

_SAME_WISH: Final = 2.0
"""Seconds."""


class EndedError(BaseException):
    """SIGTERM or SIGHUP came. Nothing catches it but `finally`."""

    def __init__(self, number: int) -> None:
        """Number of the signal."""
        super().__init__()
        self.signal = number


class _Heed:
    """What Python does at such a signal."""

    def __init__(self) -> None:
        self._heard = -math.inf

    def __call__(self, number: int, frame: object) -> None:  # noqa: ARG002
        """Raise KeyboardInterrupt or EndedError, unless it was done just now."""
        now = time.monotonic()
        if now - self._heard < _SAME_WISH:
            return
        self._heard = now
        raise KeyboardInterrupt if number == signal.SIGINT else EndedError(number)

    def again(self, number: int) -> None:
        """Send a signal whose exception was lost."""
        self._heard = -math.inf
        os.kill(os.getpid(), number)


_HEED: Final = _Heed()


def heed_an_end() -> None:
    """Let signals that end this process unwind the program, so that half a file is removed.

    Not where they are ignored (nohup). One of several processes may wait for the others where
    Python hears no signal: of these only the one that writes a file does this.
    """
    for number in ENDING:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _HEED)


def heed_a_lost_end(lost: "sys.UnraisableHookArgs") -> None:
    """The sys.unraisablehook of commands: sends a signal once more whose exception was lost.

    It came in a destructor or in the callback of a weak reference, of which every import has one:
    Python would print it and go on. A command that then waits for input would never end.
    """
    if not issubclass(lost.exc_type, KeyboardInterrupt | EndedError):
        sys.__unraisablehook__(lost)
        return
    number = getattr(lost.exc_value, "signal", signal.SIGINT)
    # Not at once: that would end this very function, and be lost again.
    again = threading.Timer(0.05, _HEED.again, (number,))
    again.daemon = True
    again.start()


def die_of(number: int) -> NoReturn:
    """End as the signal ends a process that does not know it: so tell its parent."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    sys.exit(2)  # only where the signal is blocked
