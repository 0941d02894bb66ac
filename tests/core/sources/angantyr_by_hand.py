"""A script for test_angantyr: one block of O-O events, taken out of Pythia in two ways.

Pythia starts once in a process, so the tests look at what this one writes to the file named in
sys.argv[1]. Each way runs in a fork of the started Pythia, as blocks do.
"""

import os
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hitools.core.sources import angantyr
from hitools.core.sources.generation import GeneratorOptions
from hitools.core.sources.nuclei import parse_system

EVENTS = 110
"""Fewer than in a block of hi-mc, and more than Pythia hands out at once."""

ticks: list[float] = []
"""Processor time at the beginning (negative) and at the end of each event of Pythia's."""


def timed_recorder(pythia8mc: Any) -> Any:
    """The recorder of hi-mc, which notes the time as well."""
    recorder = type(untimed_recorder(pythia8mc))

    class Timed(recorder):
        def onBeginEvent(self) -> None:  # noqa: N802
            ticks.append(-time.process_time())

        def onEndEvent(self, status: Any) -> None:  # noqa: N802
            ticks.append(time.process_time())
            recorder.onEndEvent(self, status)

    return Timed()


untimed_recorder = angantyr._geometry_recorder
angantyr._geometry_recorder = timed_recorder


def forked(work: Callable[[], Any]) -> Any:
    """What work() returns, called in a child process."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        with os.fdopen(writing, "wb") as stream:
            pickle.dump(work(), stream)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        result = pickle.load(stream)
    os.wait()
    return result


class Angantyr(angantyr.Angantyr):
    """Makes short blocks, and more than blocks."""

    def __init__(self, options: GeneratorOptions) -> None:
        super().__init__(options, print)
        self._tries = EVENTS

    def by_block(self, index: int) -> tuple[Any, float]:
        """A block, and its cost on top of the event loop as a fraction of that loop's."""
        ticks.clear()
        start = time.process_time()
        block = self.block(index)
        total = time.process_time() - start
        assert len(ticks) == 2 * EVENTS
        return block, total / sum(ticks) - 1

    def by_hand(self, index: int) -> dict[str, np.ndarray]:
        """The same events with Pythia's own accessors, particle by particle."""
        self._seed(index)
        heavy_ion = self._pythia.getHeavyIonsPtr().hiInfo
        particles, events = [], []
        for _ in range(EVENTS):
            self._pythia.next()
            seen = [
                (p.pT(), p.eta(), p.phi())
                for p in self._pythia.event
                if p.isFinal() and p.isCharged() and abs(p.eta()) < 2.5
            ]
            n_part = heavy_ion.nPartProj() + heavy_ion.nPartTarg()
            events.append((len(seen), heavy_ion.b(), heavy_ion.nCollTot(), n_part))
            particles += seen
        return {"particles": np.array(particles), "events": np.array(events)}

    def first_numbers(self, index: int) -> list[float]:
        """The first random number of every Pythia inside Angantyr, in this block."""
        self._seed(index)
        return [member.rndm.flat() for member in self._pythia.getHeavyIonsPtr().pythia]


def main() -> None:
    """Write everything to one pickle."""
    generator = Angantyr(GeneratorOptions("angantyr", parse_system("O-O"), 5360.0))
    result = {
        "blocks": [forked(lambda: generator.by_block(3)) for _ in range(3)],
        "hand": forked(lambda: generator.by_hand(3)),
        "numbers": [forked(lambda k=k: generator.first_numbers(k)) for k in range(4)],
    }
    Path(sys.argv[1]).write_bytes(pickle.dumps(result))


if __name__ == "__main__":
    main()
