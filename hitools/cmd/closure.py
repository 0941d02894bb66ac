"""hi-closure: all distributions of a sample beside those of a reference."""

import click

from hitools.cmd.common import seed_option
from hitools.cmd.feeding import feed, numbers
from hitools.cmd.validation import Reporting, report, validation_command


@validation_command("hi-closure")
@click.option(
    "--pair",
    "pairs",
    metavar="X:Y",
    multiple=True,
    help="One more ratio map, of two event or two particle variables; repeatable.",
)
@click.option(
    "--n-bins",
    type=click.IntRange(2, 1000),
    default=50,
    show_default=True,
    help="Bins of a variable; maps have half as many on each axis.",
)
@seed_option
def main(
    inputs: tuple[str, ...],
    reporting: Reporting,
    pairs: tuple[str, ...],
    n_bins: int,
    seed: int,
) -> None:
    """Compare the distributions of all variables of SAMPLE with those of REFERENCE.

    chi2/ndf and separation power of each variable, mean and median of the binned ratio of each
    map. Bins follow the reference alone. A single input is compared with itself, half against
    half.
    """
    from hitools.core.compare.closure import DEFAULT_PAIRS, ClosureAccumulator, parse_pair

    wanted = dict.fromkeys([*DEFAULT_PAIRS, *(parse_pair(text) for text in pairs)])
    accumulator = ClosureAccumulator(tuple(wanted), n_bins, seed)
    feed(accumulator, inputs, reporting, alone_is_reference=True)
    result = accumulator.result()
    if reporting.plot is not None:
        from hitools.core.plot.closure import closure_figure
        from hitools.core.plot.style import save_figure

        halves = ("first half", "second half")
        names = halves if len(inputs) == 1 else ("reference", "sample")
        save_figure(closure_figure(result, names=names), reporting.plot)
    report(
        result.quantities(),
        reporting,
        inputs,
        remarks=["Bins, from the reference:", *(str(v.binning) for v in result.variables)],
        details={
            "n_events": list(result.n_events),
            "binning": {v.binning.name: numbers(v.binning.edges) for v in result.variables},
        },
    )
