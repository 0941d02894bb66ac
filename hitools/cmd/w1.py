"""hi-w1: Wasserstein-1 distance of every event and particle variable."""

from typing import TYPE_CHECKING, Literal

import click

from hitools.cmd.common import seed_option
from hitools.cmd.feeding import Size, feed
from hitools.cmd.validation import Reporting, report, validation_command

if TYPE_CHECKING:
    from hitools.core.compare.w1 import W1Result


@validation_command("hi-w1")
@click.option(
    "--phi",
    type=click.Choice(["sincos", "circle"]),
    default="sincos",
    show_default=True,
    help="Azimuth of particles: mean over sin phi and cos phi, or along the circle.",
)
@click.option(
    "--memory",
    type=Size(),
    default="1G",
    show_default=True,
    help="Values held for the exact distance; beyond it, an estimate with a bound.",
)
@seed_option
def main(
    inputs: tuple[str, ...],
    reporting: Reporting,
    phi: Literal["sincos", "circle"],
    memory: int,
    seed: int,
) -> None:
    """Wasserstein-1 distances between REFERENCE and SAMPLE.

    In each variable's own unit (w1.NAME) and in standard deviations of the reference
    (w1_sd.NAME), with the means over event variables (evt) and over pt, eta, phi (part). A
    single input is compared with itself, half against half.
    """
    from hitools.core.compare.w1 import W1Accumulator

    accumulator = W1Accumulator(phi, memory, seed)
    feed(accumulator, inputs, reporting, alone_is_reference=True)
    result = accumulator.result()
    if reporting.plot is not None:
        from hitools.core.plot.style import save_figure
        from hitools.core.plot.w1 import w1_figure

        save_figure(w1_figure(result), reporting.plot)
    details = {
        "exact": result.exact,
        "bounds": {f"w1.{d.name}": d.bound for d in result.distances},
        "n_events": list(result.n_events),
        "n_particles": list(result.n_particles),
    }
    report(
        result.quantities(), reporting, inputs, remarks=_remarks(result, inputs), details=details
    )


def _remarks(result: "W1Result", inputs: tuple[str, ...]) -> list[str]:
    if len(inputs) == 1:
        return ["One input: distances between its halves, estimated in bins."]
    if result.exact:
        return []
    worst = max(result.distances, key=lambda d: d.bound / d.floor if d.floor > 0 else 0.0)
    return [
        "More values than --memory holds: estimated in bins, within bounds that --json gives.",
        f"The largest bound beside its floor is {worst.bound:.2g} (w1.{worst.name}).",
    ]
