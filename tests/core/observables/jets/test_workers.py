"""Several processes find the jets that one finds, in the same order, and leave nobody behind."""

import os
import signal

import pytest

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.observables.jets import JetBatch, JetDefinition
from hitools.core.observables.jets import workers as workers_module
from hitools.core.observables.jets.workers import find_all

DEFINITION = JetDefinition(constituents=True)


@pytest.fixture
def small_pieces(monkeypatch):
    """Many pieces of work from few events."""
    monkeypatch.setattr(workers_module, "_EVENTS_AT_ONCE", 5)


def test_order_and_result_do_not_depend_on_the_number_of_workers(oo, small_pieces):
    oo = oo[:48]
    alone = JetBatch.concatenate(list(find_all([oo], DEFINITION)))
    together = list(find_all([oo[:7], oo[7:8], oo[8:]], DEFINITION, workers=3))
    assert len(together) > 5
    joined = JetBatch.concatenate(together)
    assert joined.jets.tobytes() == alone.jets.tobytes()
    assert joined.events.tobytes() == alone.events.tobytes()
    assert (joined.constituents == alone.constituents).all()


def test_more_workers_than_work(oo):
    assert len(JetBatch.concatenate(list(find_all([oo[:3]], DEFINITION, workers=4)))) == 3
    assert list(find_all([], DEFINITION, workers=2)) == []


def test_a_reader_that_has_enough_ends_the_workers(oo, small_pieces, monkeypatch):
    started = []
    original = workers_module._Worker.__init__

    def remember(self, definition):
        original(self, definition)
        started.append(self._process)

    monkeypatch.setattr(workers_module._Worker, "__init__", remember)
    jets = find_all([oo] * 50, DEFINITION, workers=2)
    next(jets)
    assert [process.poll() for process in started] == [None, None]
    jets.close()
    assert all(process.poll() is not None for process in started)


def test_a_worker_that_dies_is_told_in_one_line(oo, small_pieces, monkeypatch):
    original = workers_module._Worker.find
    calls = []

    def kill_at_third(self, events: EventBatch):
        calls.append(1)
        if len(calls) == 3:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
        return original(self, events)

    monkeypatch.setattr(workers_module._Worker, "find", kill_at_third)
    with pytest.raises(InputError, match="killed by SIGKILL"):
        list(find_all([oo], DEFINITION, workers=2))


def test_an_interrupt_while_workers_start_leaves_nobody_behind(oo, monkeypatch):
    started = []
    original = workers_module._Worker.__init__

    def interrupted(self, definition):
        original(self, definition)
        started.append(self._process)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(workers_module._Worker, "__init__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(find_all([oo], DEFINITION, workers=2))
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)
