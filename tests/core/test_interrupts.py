"""A signal inside a held block comes at its end, and only once."""

import os
import signal
import threading

import pytest

from hitools.core.interrupts import interrupts_held


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_waits_for_the_end_of_the_block():
    done = []

    def work():
        with interrupts_held():
            interrupt()
            interrupt()
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_so_does_another_signal_that_python_handles(number):
    told = []
    before = signal.signal(number, lambda number, _: told.append(number))
    try:
        with interrupts_held():
            os.kill(os.getpid(), number)
            assert told == []
        assert told == [number]
        os.kill(os.getpid(), number)
        assert told == [number, number]
    finally:
        signal.signal(number, before)


def test_what_the_kernel_does_is_left_to_it():
    with interrupts_held():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_without_an_interrupt_nothing_happens():
    with interrupts_held():
        pass
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_an_error_inside_comes_out():
    with pytest.raises(ValueError, match="mine"), interrupts_held():
        raise ValueError("mine")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_hold_nothing():
    seen = []

    def work():
        with interrupts_held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
