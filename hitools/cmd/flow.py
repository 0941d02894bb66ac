"""hi-flow: v_n, event-plane resolution, cumulants and trigger correlations."""

from typing import TYPE_CHECKING, Any, Literal

import click

from hitools.cmd.common import seed_option
from hitools.cmd.feeding import Numbers, Range, feed, numbers
from hitools.cmd.validation import Reporting, report, validation_command

if TYPE_CHECKING:
    from hitools.core.compare.flow import FlowResult
    from hitools.core.compare.flow_values import FlowNumbers

_DEFAULT_PT_BINS = "0,0.2,0.4,0.6,0.8,1,1.25,1.5,2,2.5,3,4,6,10"


@validation_command("hi-flow")
@click.option(
    "--harmonics", type=Numbers(int), default="2,3,4", show_default=True, help="n of v_n."
)
@click.option(
    "--pt-bins",
    type=Numbers(float, ascending=True),
    default=_DEFAULT_PT_BINS,
    help="Edges of the bins of v_n(pT), GeV/c.",
)
@click.option(
    "--gap",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Width of the eta gap between the sub-events of v_n{SP}.",
)
@click.option(
    "--estimator",
    type=click.Choice(["plane", "product"]),
    default="plane",
    show_default=True,
    help="v_n{SP} with unit vectors (the paper) or with the lengths of Q.",
)
@click.option(
    "--cumulant-gap",
    metavar="WIDTH",
    type=click.FloatRange(0),
    help="Take cumulants across an eta gap of this width.",
)
@click.option(
    "--particle-weight",
    type=click.Choice(["one", "pt"]),
    default="one",
    show_default=True,
    help="Weight of reference particles in the cumulants.",
)
@click.option(
    "--reference-pt",
    type=Range(),
    default=":",
    help="pT of the reference particles of the cumulants, GeV/c. Default: all.",
)
@click.option(
    "--trigger-pt",
    metavar="PT",
    type=click.FloatRange(0, min_open=True),
    default=4.0,
    show_default=True,
    help="Triggers have more pT than this, GeV/c.",
)
@click.option(
    "--associated-pt",
    type=Range(),
    default=":",
    help="pT of the partners of a trigger, GeV/c. Default: all.",
)
@click.option(
    "--pair-gap",
    metavar="WIDTH",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Leave out partners closer than this in eta.",
)
@seed_option
def main(
    inputs: tuple[str, ...],
    reporting: Reporting,
    harmonics: tuple[int, ...],
    pt_bins: tuple[float, ...],
    gap: float,
    estimator: Literal["plane", "product"],
    cumulant_gap: float | None,
    particle_weight: Literal["one", "pt"],
    reference_pt: tuple[float, float],
    trigger_pt: float,
    associated_pt: tuple[float, float],
    pair_gap: float,
    seed: int,
) -> None:
    """Measure flow and trigger correlations of SAMPLE, and compare them with REFERENCE."""
    from hitools.core.compare.flow import FlowAccumulator
    from hitools.core.compare.flow_sums import FlowOptions
    from hitools.core.observables.pairs import PairCuts

    if min(harmonics) < 1 or len(set(harmonics)) < len(harmonics):
        raise click.BadParameter("expected different numbers of 1 or more", param_hint="harmonics")
    options = FlowOptions(
        harmonics=harmonics,
        pt_edges=pt_bins,
        gap=gap,
        estimator=estimator,
        cumulant_gap=cumulant_gap,
        particle_weight=particle_weight,
        reference_pt=reference_pt,
        pairs=PairCuts(trigger_pt, associated_pt, pair_gap),
    )
    accumulator = FlowAccumulator(options, seed)
    feed(accumulator, inputs, reporting)
    result = accumulator.result()
    if reporting.plot is not None:
        from hitools.core.plot.flow import flow_figure
        from hitools.core.plot.style import save_figure

        save_figure(flow_figure(result), reporting.plot)
    report(result.quantities(), reporting, inputs, details=_details(result))


def _details(result: "FlowResult") -> dict[str, Any]:
    """The curves, for --json."""

    def curves(sample: "FlowNumbers") -> dict[str, Any]:
        return {
            name.removesuffix("(pt)"): {
                "value": numbers(value),
                "error": numbers(sample.error[name]),
            }
            for name, value in sample.value.items()
            if name.endswith("(pt)")
        }

    out: dict[str, Any] = {
        "n_events": list(result.n_events),
        "pt_edges": list(result.options.pt_edges),
        "curves": curves(result.sample),
    }
    if result.reference is not None:
        out["reference_curves"] = curves(result.reference)
    return out
