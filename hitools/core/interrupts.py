"""Steps that a signal must not cut in two: starting a process, writing with the HDF5 library."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a program to end."""


@contextmanager
def interrupts_held() -> Iterator[None]:
    """A signal that asks the program to end is handled at the end of the block.

    Only where Python handles it: what the kernel does by itself comes at once. Python handles
    signals in the main thread only: in others nothing is held, and nothing comes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {
        number: handler for number in ENDING if callable(handler := signal.getsignal(number))
    }
    came: list[tuple[int, FrameType | None]] = []
    held = True

    def hold(number: int, frame: "FrameType | None") -> None:
        if held:
            came.append((number, frame))
        else:  # between two handlers that are put back
            handlers[signal.Signals(number)](number, frame)

    try:
        for number in handlers:
            signal.signal(number, hold)
        yield
    finally:
        held = False
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            first, frame = came[0]
            handlers[signal.Signals(first)](first, frame)
