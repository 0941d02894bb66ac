"""Jets behind a name: those of a jet file as they are, or found in the events of an event file."""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from hitools.core.errors import InputError
from hitools.core.format.images import ImageSource
from hitools.core.format.jetfile import JetReader, differences, is_jet_image
from hitools.core.format.meta import EventMeta
from hitools.core.format.reader import MAX_PARTICLES, EventReader
from hitools.core.observables.jets.definition import JetDefinition
from hitools.core.observables.jets.table import JetBatch
from hitools.core.observables.jets.workers import find_all

DEFAULT_ETA_MAX: Final = 2.5


def _unchanged(batches: Iterable[Any]) -> Iterable[Any]:
    return batches


class JetSource:
    """One input, open. A context manager; ask for its jets once.

    Attributes:
        name: for messages.
        n_events: how many events there are, None where only the end of a stream will tell.
    """

    def __init__(self, source: str | Path) -> None:
        """Open a file or "-". Raises InputError where it holds neither events nor jets."""
        images = ImageSource(source)
        try:
            self._reader: JetReader | EventReader = (
                JetReader(images)
                if is_jet_image(images.first, images.name)
                else EventReader(images, MAX_PARTICLES, None)
            )
        except BaseException:
            images.close()
            raise
        self.name = self._reader.name
        self.n_events = self._reader.n_events

    @property
    def definition(self) -> JetDefinition | None:
        """How the jets of a jet file were found; None for events."""
        return self._reader.meta.definition if isinstance(self._reader, JetReader) else None

    @property
    def events(self) -> EventMeta:
        """Which events these are, as far as was read."""
        meta = self._reader.meta
        return meta if isinstance(meta, EventMeta) else meta.events

    @property
    def eta_max(self) -> float:
        """The |eta| limit of the events' selection, 2.5 where nobody said."""
        selection = self.events.selection
        return DEFAULT_ETA_MAX if selection is None else selection.eta_max

    def jets(
        self,
        definition: JetDefinition,
        workers: int,
        through: Callable[[Iterable[Any]], Iterable[Any]] = _unchanged,
    ) -> Generator[JetBatch]:
        """All jets in order.

        Args:
            definition: how to find them in events.
            workers: processes for that.
            through: sees the batches as they are read (events, or jets), and hands them on.

        Raises:
            InputError: the input is damaged, or a worker dies.
        """
        batches = through(self._reader)
        if isinstance(self._reader, JetReader):
            yield from batches
            return
        with closing(find_all(batches, definition, workers)) as found:
            yield from found

    def close(self) -> None:
        """Close the input."""
        self._reader.close()

    def __enter__(self) -> Self:
        """Enter; the input is open already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the input."""
        self.close()


def agreed_definition(
    sources: Sequence[JetSource], wanted: JetDefinition, *, asked_for: bool
) -> JetDefinition:
    """The one definition of all inputs: that of the jet files, or the one wanted for events.

    Args:
        sources: the inputs.
        wanted: from the command line.
        asked_for: whether the user gave any of it, so that a jet file must agree.

    Raises:
        InputError: jet files of different definitions, or of another one than was asked for.
    """
    settled: tuple[str, JetDefinition] | None = None
    for source in sources:
        if source.definition is None:
            continue
        if asked_for and (unlike := differences(source.definition, wanted)):
            raise InputError(
                f"{source.name}: its jets are found already, and not as asked for: "
                f"{'; '.join(unlike)}"
            )
        if settled and (unlike := differences(settled[1], source.definition)):
            raise InputError(
                f"{source.name}: jets of another definition than in {settled[0]}: "
                f"{'; '.join(unlike)}"
            )
        settled = settled or (source.name, source.definition)
    return settled[1] if settled else wanted
