"""hi-qclosure: is the stored event vector the one that the particles have?"""

from typing import TYPE_CHECKING

import click

from hitools.cmd.common import seed_option
from hitools.cmd.feeding import feed
from hitools.cmd.validation import Reporting, report, validation_command

if TYPE_CHECKING:
    from hitools.core.compare.qclosure import QClosureResult


@validation_command("hi-qclosure")
@click.option(
    "--bins",
    metavar="COLUMN:EDGES",
    help="Also in bins of an event column, such as b:0,5,10.",
)
@seed_option
def main(inputs: tuple[str, ...], reporting: Reporting, bins: str | None, seed: int) -> None:
    """Compare each event's stored Q-vector, event plane and means with its particles.

    Of REFERENCE SAMPLE the sample is examined, and the same numbers of the reference stand in
    the column "floor". A sample whose event vectors were computed from its particles closes by
    construction; it is recognised, and no number is given.
    """
    from hitools.core.compare.qclosure import EventBins, QClosureAccumulator

    accumulator = QClosureAccumulator(EventBins.parse(bins) if bins else None, seed)
    feed(accumulator, inputs, reporting)
    result = accumulator.result()
    if reporting.plot is not None:
        from hitools.core.plot.qclosure import qclosure_figure
        from hitools.core.plot.style import save_figure

        save_figure(qclosure_figure(result), reporting.plot)
    report(
        result.quantities(),
        reporting,
        inputs,
        remarks=_remarks(result, inputs[-1]),
        details={"n_events": result.n_events},
    )


def _remarks(result: "QClosureResult", name: str) -> list[str]:
    shown = "standard input" if name == "-" else name
    if result.by_construction:
        share = 100 * result.closing
        return [
            f"{shown} closes by construction, so closure tests nothing here: the event vectors",
            f"of {share:.4g}% of its events are sums over their own particles.",
        ]
    if result.closing > 0:
        share = 100 * result.closing
        return [f"{share:.3g}% of the events close by construction; they are in the numbers."]
    return []
