"""HepMC2 and HepMC3 ascii events, from files and pipes, compressed with gzip or not.

Read through pyhepmc: status-1 particles, the first event weight, and b, Ncoll and Npart from the
heavy-ion block. Text that breaks off is noticed: a listing ends with a line that says so.
"""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.format import faults
from hitools.core.format.faults import Fault, FaultHandler
from hitools.core.format.meta import EventMeta
from hitools.core.sources.charge import find_charged
from hitools.core.sources.foreign import InputOptions, RawEvents, accept, spherical
from hitools.core.sources.hepmc_text import WatchedText

if TYPE_CHECKING:
    from hitools.core.features import BoolArray

_COMPLAINTS: Final = (RuntimeError, ValueError, LookupError, ArithmeticError, MemoryError)
"""What C++ exceptions of the reader become."""

_FINAL_STATE: Final = 1
_EVENTS_PER_BATCH: Final = 256
_PARTICLES_PER_BATCH: Final = 1 << 20


class HepMCSource:
    """Events of one HepMC listing, or of several one after another. See EventSource.

    HepMC3's reader prints complaints to C++ standard output, whatever it is told; a program that
    sends data there has to keep the two apart.
    """

    def __init__(
        self, stream: io.BufferedReader, name: str, options: InputOptions, on_fault: FaultHandler
    ) -> None:
        """Begin with a stream that stands at the first byte, compressed or not.

        Raises:
            InputError: no HepMC listing begins here, or pyhepmc is missing.
        """
        self.name = name
        self.meta = EventMeta(selection=options.selection)
        self.n_events: int | None = None
        self._options = options
        self._on_fault = on_fault
        self._stream = stream
        self._text = WatchedText(stream)
        self._cut_off: Fault | None = None
        self._reader = self._open()

    def _open(self) -> Any:
        if self._text.kind is None:
            self._text.raise_error(self.name)
            raise InputError(
                f"{self.name}: not understood (begins with {self._text.header[:24]!r}): expected "
                "an event file or stream, HepMC2 or HepMC3 text, a ROOT file or an HDF5 table"
            )
        try:
            import pyhepmc
            from pyhepmc.io import ReaderAscii, ReaderAsciiHepMC2, pyiostream
        except ImportError:
            raise InputError("HepMC needs pyhepmc: pip install 'hitools[hepmc]'") from None
        pyhepmc.Setup.print_errors = pyhepmc.Setup.print_warnings = False
        pyhepmc.Setup.debug_level = 0
        self._new_event = pyhepmc.GenEvent
        self._mev = pyhepmc.Units.MomentumUnit.MEV
        # pyiostream does not own what it reads from, nor the reader its stream.
        self._buffered = io.BufferedReader(self._text, 1 << 16)
        self._cpp_stream = pyiostream(self._buffered, 1 << 16)
        reader = ReaderAscii if self._text.kind == "hepmc3" else ReaderAsciiHepMC2
        return reader(self._cpp_stream)

    def __iter__(self) -> Iterator[EventBatch]:
        """All events."""
        selection = self._options.selection
        for raw in self._batches():
            batch = accept(raw, selection, self.name, self._on_fault)
            if len(batch):
                yield batch
        if self._cut_off is not None:
            self._on_fault(self.name, self._cut_off)

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def _batches(self) -> Iterator[RawEvents]:
        first, gathered, n_particles = 0, _Gathered(), 0
        wanted = 1  # a slow generator's first events are to pass at once
        for event in self._events():
            index = first + len(gathered.counts)
            if index in self._text.faults:
                gathered.faults[len(gathered.counts)] = self._text.faults.pop(index)
            n_particles += self._gather(event, index, gathered)
            if len(gathered.counts) == wanted or n_particles > _PARTICLES_PER_BATCH:
                yield gathered.finish(first, self._options)
                first += len(gathered.counts)
                gathered, n_particles = _Gathered(), 0
                wanted = min(2 * wanted, _EVENTS_PER_BATCH)
        if gathered.counts:
            yield gathered.finish(first, self._options)

    def _events(self) -> Iterator[Any]:
        """Every GenEvent that is whole.

        One event is held back: text that breaks off between two lines is not noticed by the
        reader, so that the last event counts only when the end of the listing follows.
        """
        index, last = 0, None
        broken, complaint = False, ""
        while not (broken or self._reader.failed()):
            event = self._new_event()
            try:
                broken = not self._reader.read_event(event)
            except _COMPLAINTS as error:
                broken, complaint = True, f": {str(error).partition(chr(10))[0]}"
            n_before = index + (last is not None)
            # The reader takes the end of a listing for an event without particles.
            if self._reader.failed() and n_before == self._text.n_begun and not event.particles:
                break
            if last is not None:
                self._text.raise_refused(self.name, index)
                yield last
                index += 1
            last = None if broken else event
        self._text.raise_error(self.name)
        self._text.raise_refused(self.name, index + (last is not None))
        n_read = index + (last is not None or broken)
        if not self._text.is_open and self._text.n_begun > n_read:
            broken, index = True, n_read  # the reader gave up without a word
        in_last = self._text.at_end and self._text.n_begun <= index + 1
        if broken and not (in_last and self._text.is_open):
            fault = self._text.faults.get(index)
            complaint = f": {fault.detail}" if fault else complaint
            raise InputError(
                f"{self.name}: event {index}: its HepMC text cannot be parsed{complaint}"
            )
        if self._text.is_open:
            detail = "the listing ends here without its END_EVENT_LISTING line"
            self._cut_off = Fault(index, faults.CUT_OFF, detail)
        elif last is not None:
            yield last
        elif not index:
            raise InputError(f"{self.name}: no events in it")

    def _gather(self, event: Any, index: int, gathered: "_Gathered") -> int:
        particles = event.numpy.particles
        final = np.flatnonzero(particles.status == _FINAL_STATE)
        momenta = np.empty((3, len(final)))
        for row, axis in zip(momenta, ("px", "py", "pz"), strict=True):
            row[:] = getattr(particles, axis).take(final)
        momenta *= 1e-3 if event.momentum_unit == self._mev else 1.0
        gathered.momenta.append(momenta)
        gathered.pdg_ids.append(particles.pid.take(final))
        gathered.counts.append(len(final))
        gathered.weights.append(event.weights[0] if len(event.weights) else 1.0)
        gathered.geometry.append(self._geometry(event, index))
        return len(final)

    def _geometry(self, event: Any, index: int) -> tuple[float, float, float]:
        """b, n_coll, n_part of the heavy-ion block, whose fields are negative where unset."""
        if not self._options.geometry:
            return 0.0, 0.0, 0.0
        block = event.heavy_ion
        where = f"{self.name}: event {index}"
        way_out = "(--no-geometry sets b, n_coll and n_part to 0)"
        if block is None:
            raise InputError(f"{where}: it has no heavy-ion block {way_out}")
        # Some generators give all participants as those of the projectile.
        sides = [block.Npart_proj, block.Npart_targ]
        fields = {
            "impact_parameter": block.impact_parameter,
            "Ncoll": block.Ncoll,
            "Npart_proj": sum(side for side in sides if side >= 0) if max(sides) >= 0 else -1,
        }
        for name, value in fields.items():
            if value < 0:
                raise InputError(f"{where}: its heavy-ion block has no {name} {way_out}")
        b, n_coll, n_part = (float(value) for value in fields.values())
        return b, n_coll, n_part


class _Gathered:
    """Arrays of some events."""

    def __init__(self) -> None:
        self.momenta: list[np.ndarray] = []
        self.pdg_ids: list[np.ndarray] = []
        self.counts: list[int] = []
        self.weights: list[float] = []
        self.geometry: list[tuple[float, float, float]] = []
        self.faults: dict[int, Fault] = {}

    def finish(self, first: int, options: InputOptions) -> RawEvents:
        counts = np.array(self.counts)
        momenta = np.concatenate(self.momenta, axis=1)
        charged: BoolArray | None = None
        found: dict[int, Fault] = {}
        if options.charge != "all":
            charged, found = find_charged(np.concatenate(self.pdg_ids), counts, first)
        finite = np.isfinite(momenta).all(axis=0)
        pt, eta, phi = spherical(*momenta)
        pt[~finite] = np.nan  # pT alone would hide a bad pz
        return RawEvents(
            first,
            counts,
            pt,
            eta,
            phi,
            charged,
            np.array(self.geometry),
            np.array(self.weights),
            found | self.faults,
        )
