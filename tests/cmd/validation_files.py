"""Event files for the tests of the validation commands: toys, and toys with a known defect."""

from pathlib import Path

from benchmarks import defects
from benchmarks.defects import tail_cut
from hitools.core.batch import EventBatch
from hitools.core.format.meta import EventMeta
from hitools.core.format.writer import open_writer
from tests.core.toys import toy_events

FLOW = {2: 0.12, 3: 0.05}


def write(path: Path, events: EventBatch, *, generated: bool = False) -> Path:
    """Store events; `generated` says that their vectors may differ from their particles."""
    meta = EventMeta(system="toy", event_vectors="generated" if generated else "particles")
    with open_writer(path, meta) as out:
        for batch in events.split(50_000):
            out.write(batch)
    return path


def toy_pair(n_events: int = 3000) -> tuple[EventBatch, EventBatch]:
    """Two halves of one parent."""
    events = toy_events(2 * n_events, 11, mean_particles=60, flow=FLOW)
    return events[:n_events], events[n_events:]


def tail_cut_at_3(events: EventBatch) -> EventBatch:
    """Toys have few particles above the 5 GeV/c of the script."""
    return tail_cut(events, above=3)


DEFECTS = {**defects.DEFECTS, "tail cut": tail_cut_at_3}
