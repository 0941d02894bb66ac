"""hi-cat: concatenate, cut, select, shuffle and re-pack event files and streams."""

from typing import Any

import click

from hitools.cmd.common import (
    Lineage,
    command,
    input_arguments,
    output_option,
    provenance_option,
    quiet_option,
    seed_option,
    tracked,
)


class _Range(click.ParamType):
    """A:B, either end optional, as in Python."""

    name = "A:B"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int | None]:
        first, colon, last = str(value).partition(":")
        # isdecimal(), as isdigit() takes digits that int() does not, like a superscript.
        decimal = all(part == "" or part.isdecimal() for part in (first, last))
        try:
            if colon and decimal:
                return int(first or 0), int(last) if last else None
        except ValueError:
            pass  # thousands of digits
        return self.fail(f"{value!r}: expected A:B, event numbers counted from 0", param, ctx)


@command("hi-cat")
@input_arguments()
@output_option
@click.option("--head", metavar="N", type=click.IntRange(0), help="Only the first N events.")
@click.option("--events", "span", type=_Range(), help="Only events A to B-1, counted from 0.")
@click.option("--every", "step", metavar="K", type=click.IntRange(1), default=1, help="Each K-th.")
@click.option("--select", metavar="EXPR", help="Only events where EXPR holds: 'b<5 and n_coll>20'.")
@click.option("--shuffle", is_flag=True, help="In random order (--seed), in bounded memory.")
@click.option("--gzip", type=click.IntRange(0, 9), help="Compression level, 0 for none.")
@click.option("--slots", type=click.IntRange(1, 65536), help="Particles per chunk of the output.")
@seed_option
@provenance_option
@quiet_option
def main(
    inputs: tuple[str, ...],
    output: str,
    head: int | None,
    span: tuple[int, int | None] | None,
    step: int,
    select: str | None,
    shuffle: bool,
    gzip: int | None,
    slots: int | None,
    seed: int,
    no_provenance: bool,
    quiet: bool,
) -> None:
    """Concatenate event files and streams.

    --events, --every, --select, --shuffle and --head apply in this order, to the events of all
    inputs together.
    """
    from contextlib import ExitStack

    from hitools.core.format.concatenation import Concatenation
    from hitools.core.format.layout import ON_A_PIPE, ON_DISK
    from hitools.core.format.shuffle import shuffled
    from hitools.core.format.slicing import every
    from hitools.core.format.writer import open_writer, writes_a_stream
    from hitools.core.selection import Selection

    chosen = Selection(select) if select is not None else None
    start, stop = span or (0, None)
    if head is not None and not (chosen or shuffle):
        # The last event that can be needed is known: stop reading there.
        last = start + head * step
        stop = last if stop is None else min(stop, last)
    storage = ON_A_PIPE if writes_a_stream(output) else ON_DISK
    storage = storage.altered(gzip=gzip, slots=slots)
    lineage = Lineage(seed=seed if shuffle else None, keep=not no_provenance)

    with ExitStack() as stack:
        source = stack.enter_context(Concatenation(inputs))
        out = stack.enter_context(open_writer(output, lineage.stamp(source.meta), storage))
        batches = every(tracked(source, source.n_events, "events", quiet=quiet), start, stop, step)
        if chosen:
            batches = (batch.take(chosen(batch.events)) for batch in batches)
        if shuffle:
            batches = shuffled(batches, seed)
        for batch in every(batches, 0, head):
            out.meta = lineage.stamp(source.meta)
            out.write(batch)
        out.meta = lineage.stamp(source.meta)
