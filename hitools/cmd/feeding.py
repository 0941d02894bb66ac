"""How validation commands feed their accumulators, and options they share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import click

from hitools.cmd.validation import Inputs, Reporting

if TYPE_CHECKING:
    import numpy as np

    from hitools.core.batch import EventBatch


class Accumulator(Protocol):
    """Takes the reference's events, then the sample's, batch by batch."""

    def add_reference(self, batch: "EventBatch") -> None:
        """Take the next events of the reference."""

    def add_sample(self, batch: "EventBatch") -> None:
        """Take the next events of the sample."""


def feed(
    accumulator: Accumulator,
    inputs: Sequence[str],
    reporting: Reporting,
    *,
    alone_is_reference: bool = False,
) -> Inputs:
    """Read all inputs into the accumulator, in the same blocks whatever they come in.

    Returns them, for their attributes.

    Args:
        accumulator: to feed.
        inputs: one name or two, reference first.
        reporting: of the command.
        alone_is_reference: a single input is the reference, to be compared with itself.

    Raises:
        InputError: an input without events, or without particles, or a figure that cannot be
            written; before any event is read.
    """
    from hitools.core.compare.blocks import steady_blocks
    from hitools.core.errors import InputError
    from hitools.core.plot.style import check_figure_path

    if reporting.plot is not None:
        check_figure_path(reporting.plot)
    source = Inputs(inputs, reporting)
    for which, name in enumerate(inputs):
        reference = alone_is_reference if len(inputs) == 1 else which == 0
        add = accumulator.add_reference if reference else accumulator.add_sample
        n_events = n_particles = 0
        weight = 0.0
        for block in steady_blocks(source.batches(which)):
            n_events += len(block)
            n_particles += len(block.particles)
            weight += float(block.weights_or_ones.sum(dtype="float64"))
            add(block)
        shown = "standard input" if name == "-" else name
        if not n_particles:
            what = "particles in any event" if n_events else "events"
            raise InputError(f"{shown}: no {what}")
        if not weight > 0:
            raise InputError(f"{shown}: the weights of its events add up to 0")
    return source


def numbers(array: "np.ndarray") -> list[Any]:
    """An array as nested lists for JSON, null for what is not a number."""
    import numpy as np

    values = np.asarray(array, dtype=np.float64)
    if values.ndim > 1:
        return [numbers(row) for row in values]
    return [float(x) if np.isfinite(x) else None for x in values]


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Size(click.ParamType):
    """A number of bytes: 500M, 2G."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a number with a unit."""
        if isinstance(value, int):
            return value
        text = str(value).upper().removesuffix("B")
        digits = text.rstrip("KMGT")
        try:
            size = float(digits) * _UNITS[text[len(digits) :]]
        except (ValueError, KeyError):
            size = -1.0
        if not 0 <= size < float("inf"):
            self.fail(f"{value!r}: expected a size such as 500M or 2G", param, ctx)
        return int(size)


class Range(click.ParamType):
    """LOW:HIGH of a positive quantity, either end optional."""

    name = "LOW:HIGH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """Read two numbers."""
        if isinstance(value, tuple):
            return value
        low, colon, high = str(value).partition(":")
        try:
            span = float(low or 0), float(high or "inf")
        except ValueError:
            span = (1.0, 0.0)
        if not colon or not 0 <= span[0] < span[1]:
            self.fail(f"{value!r}: expected LOW:HIGH, such as 0.2:5", param, ctx)
        return span


class Numbers(click.ParamType):
    """Numbers separated by commas."""

    name = "X,Y,..."

    def __init__(self, kind: type[int] | type[float], *, ascending: bool = False) -> None:
        """Ascending: at least two, each larger than the one before."""
        self._kind, self._ascending = kind, ascending

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Read the list."""
        from itertools import pairwise

        if isinstance(value, tuple):
            return value
        try:
            found = tuple(self._kind(x) for x in str(value).split(","))
        except ValueError:
            found = ()
        sorted_up = len(found) > 1 and all(a < b for a, b in pairwise(found))
        if not found or (self._ascending and not sorted_up):
            kind = "ascending numbers" if self._ascending else "numbers"
            self.fail(f"{value!r}: expected {kind} separated by commas", param, ctx)
        return found
