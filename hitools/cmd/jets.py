"""hi-jets: FastJet jets of events, and jets of a sample against jets of a reference."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from hitools.cmd.common import Lineage, provenance_option, seed_option, tracked, workers_option
from hitools.cmd.feeding import Numbers, numbers
from hitools.cmd.validation import Reporting, report, validation_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from hitools.core.format.jetsource import JetSource
    from hitools.core.observables.jets.definition import JetDefinition
    from hitools.core.observables.jets.table import JetBatch

_STANDARD_OUTPUT = "-"


@validation_command("hi-jets")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write the jets as an HDF5 file; - is standard output, as a stream.",
)
@click.option(
    "--csv",
    "csv_file",
    metavar="FILE",
    help="Write the jets as text; - is standard output.",
)
@click.option(
    "--algorithm",
    type=click.Choice(["antikt", "kt", "cambridge"]),
    default="antikt",
    show_default=True,
    help="Clustering algorithm, in the E-scheme.",
)
@click.option("-R", "--radius", type=float, default=0.4, show_default=True, help="Jet radius.")
@click.option("--pt-min", type=float, default=5.0, show_default=True, help="Jets above, GeV/c.")
@click.option(
    "--eta-max",
    type=float,
    help="Particles within.  [default: the selection of the events, else 2.5]",
)
@click.option("--jet-eta-max", type=float, help="Jets within.  [default: eta-max - radius]")
@click.option("--massless", is_flag=True, help="Massless particles, not charged pions.")
@click.option("--constituents", is_flag=True, help="Keep the indices of the jets' particles.")
@click.option("--area/--no-area", default=True, help="Areas and background, or neither.")
@click.option("--ghost-area", type=float, default=0.01, show_default=True, help="Of one ghost.")
@click.option(
    "--rho",
    "rho_definition",
    type=click.Choice(["all", "occupied"]),
    default="all",
    show_default=True,
    help="Median over all kT jets; or over those with particles, corrected for empty space.",
)
@click.option(
    "--rho-area",
    type=click.Choice(["4vector", "scalar"]),
    default="4vector",
    show_default=True,
    help="What divides the pT of a kT jet.",
)
@click.option("--substructure/--no-substructure", default=True, help="Look into jets, or not.")
@click.option(
    "--substructure-pt-min",
    type=float,
    default=10.0,
    show_default=True,
    help="Into jets above, GeV/c.",
)
@click.option("--z-cut", type=float, default=0.1, show_default=True, help="Of Soft Drop.")
@click.option("--beta", type=float, default=0.0, show_default=True, help="Of Soft Drop.")
@click.option(
    "--angularity",
    "angularities",
    metavar="KAPPA,ALPHA",
    type=Numbers(float),
    multiple=True,
    help="One more besides 1,2; repeatable.",
)
@workers_option
@seed_option
@provenance_option
def main(
    inputs: tuple[str, ...],
    reporting: Reporting,
    output: str | None,
    csv_file: str | None,
    constituents: bool,
    workers: int,
    seed: int,
    no_provenance: bool,
    **options: Any,
) -> None:
    """Find jets with FastJet, or compare the jets of SAMPLE with those of REFERENCE.

    Inputs are events or jet files. With one input the jets go to standard output where that is no
    terminal and nothing else is asked for; a terminal gets a table.
    """
    import sys
    from contextlib import ExitStack, closing

    from hitools.core.format.jetsource import JetSource, agreed_definition

    comparing = len(inputs) == 2
    if comparing and (output or csv_file):
        raise click.UsageError("-o and --csv take one input; two are compared")
    asked = (output, csv_file, reporting.json_file, reporting.plot, reporting.gates)
    if not (comparing or reporting.passing or any(asked) or sys.stdout.isatty()):
        output = _STANDARD_OUTPUT
    _check_standard_output(output, csv_file, reporting)

    with ExitStack() as stack:
        sources = [stack.enter_context(JetSource(name)) for name in inputs]
        definition = agreed_definition(
            sources,
            _definition(options, sources[0].eta_max, constituents, seed),
            asked_for=any(_was_given(name) for name in options),
        )
        jets = []
        for source in sources:
            through = _through(source, reporting, last=source is sources[-1])
            jets.append(stack.enter_context(closing(source.jets(definition, workers, through))))
        if comparing:
            _compare(sources, jets, definition, reporting, inputs, seed)
        else:
            lineage = Lineage(seed=seed, keep=not no_provenance)
            _find(sources[0], jets[0], definition, reporting, inputs, output, csv_file, lineage)


def _was_given(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is not click.core.ParameterSource.DEFAULT


def _check_standard_output(output: str | None, csv_file: str | None, reporting: Reporting) -> None:
    takers = {
        "-o -": output == _STANDARD_OUTPUT,
        "--csv -": csv_file == _STANDARD_OUTPUT,
        "--json": reporting.json_file == _STANDARD_OUTPUT,
        "--pass": reporting.passing,
    }
    names = [name for name, takes in takers.items() if takes]
    if len(names) > 1:
        raise click.UsageError(f"{' and '.join(names)} cannot share standard output")


def _definition(
    options: dict[str, Any], eta_max: float, constituents: bool, seed: int
) -> "JetDefinition":
    """From the command line; eta_max is that of the events, for where it was not given."""
    from hitools.core.observables.jets.definition import (
        PION_MASS_GEV,
        Areas,
        JetDefinition,
        Substructure,
    )

    pairs = []
    for exponents in options["angularities"]:
        if len(exponents) != 2:
            raise click.UsageError("--angularity takes two numbers: KAPPA,ALPHA")
        pairs.append((exponents[0], exponents[1]))
    areas = Areas(options["ghost_area"], options["rho_definition"], options["rho_area"])
    inside = Substructure(
        options["substructure_pt_min"], options["z_cut"], options["beta"], tuple(pairs)
    )
    return JetDefinition(
        algorithm=options["algorithm"],
        radius=options["radius"],
        pt_min=options["pt_min"],
        eta_max=eta_max if options["eta_max"] is None else options["eta_max"],
        jet_eta_max=options["jet_eta_max"],
        particle_mass_gev=0.0 if options["massless"] else PION_MASS_GEV,
        areas=areas if options["area"] else None,
        substructure=inside if options["substructure"] else None,
        constituents=constituents,
        seed=seed,
    )


def _through(
    source: "JetSource", reporting: Reporting, *, last: bool
) -> "Callable[[Iterable[Any]], Iterator[Any]]":
    """What the batches of an input pass on their way: the progress bar, and --pass."""

    def through(batches: "Iterable[Any]") -> "Iterator[Any]":
        from hitools.core.format.writer import open_writer

        shown = tracked(batches, source.n_events, f"jets of {source.name}", quiet=reporting.quiet)
        if not (last and reporting.passing):
            yield from shown
            return
        if source.definition is not None:
            raise click.UsageError(f"--pass sends events on, and {source.name} holds jets")
        lineage = Lineage()
        with open_writer(_STANDARD_OUTPUT, lineage.stamp(source.events)) as out:
            for batch in shown:
                out.meta = lineage.stamp(source.events)
                out.write(batch)
                yield batch
            out.meta = lineage.stamp(source.events)

    return through


def _find(
    source: "JetSource",
    jets: "Iterator[JetBatch]",
    definition: "JetDefinition",
    reporting: Reporting,
    inputs: tuple[str, ...],
    output: str | None,
    csv_file: str | None,
    lineage: Lineage,
) -> None:
    """Jets of one input into files, and a summary where one is asked for or has a place."""
    import sys
    from contextlib import ExitStack

    from hitools.core.format.jetcsv import open_csv
    from hitools.core.format.jetfile import JetMeta, open_jet_writer
    from hitools.core.observables.jets.comparison import JetComparison

    table = not (output or csv_file) or (
        sys.stdout.isatty() and _STANDARD_OUTPUT not in (output, csv_file)
    )
    reporting = replace(reporting, quiet=reporting.quiet or not table)
    asked = (reporting.json_file, reporting.plot, reporting.gates, not reporting.quiet)
    summary = JetComparison(definition, definition.seed) if any(asked) else None
    with ExitStack() as stack:
        jet_file = table_file = None
        if output is not None:
            meta = JetMeta(definition, lineage.stamp(source.events))
            jet_file = stack.enter_context(open_jet_writer(output, meta))
        if csv_file is not None:
            table_file = stack.enter_context(open_csv(csv_file, definition))
        for batch in jets:
            if jet_file is not None:
                jet_file.write(batch)
            if table_file is not None:
                table_file.write(batch)
            if summary is not None:
                summary.add_reference(batch)
        if jet_file is not None:
            jet_file.meta = JetMeta(definition, lineage.stamp(source.events))
    if summary is None:
        return
    result = summary.alone()
    if reporting.plot is not None:
        from hitools.core.plot.jets import summary_figure
        from hitools.core.plot.style import save_figure

        save_figure(summary_figure(result), reporting.plot)
    report(
        result.quantities(),
        reporting,
        inputs,
        remarks=[definition.sentence()],
        details={"definition": definition.as_dict()},
    )


def _compare(
    sources: "Sequence[JetSource]",
    jets: "Sequence[Iterator[JetBatch]]",
    definition: "JetDefinition",
    reporting: Reporting,
    inputs: tuple[str, ...],
    seed: int,
) -> None:
    """Jets of the second input against those of the first."""
    from hitools.core.observables.jets.comparison import JetComparison

    comparison = JetComparison(definition, seed)
    for add, batches in zip((comparison.add_reference, comparison.add_sample), jets, strict=True):
        for batch in batches:
            add(batch)
    result = comparison.result()
    if reporting.plot is not None:
        from hitools.core.plot.jets import jets_figure
        from hitools.core.plot.style import save_figure

        save_figure(jets_figure(result), reporting.plot)
    report(
        result.quantities(),
        reporting,
        inputs,
        remarks=[definition.sentence(), *_unlike(*sources)],
        details={
            "definition": definition.as_dict(),
            "n_events": list(result.n_events),
            "n_jets": list(result.n_jets),
            "w1_bounds": {
                f"jets.{v.variable.name}.w1": v.w1_bound for v in result.variables if v.ratio
            },
            "binning": {
                v.variable.name: numbers(v.ratio.edges) for v in result.variables if v.ratio
            },
        },
    )


def _unlike(reference: "JetSource", sample: "JetSource") -> list[str]:
    """What the events of both do not share, apart from how their event vectors came about."""
    from hitools.core.format.meta import disagreements

    alike = replace(sample.events, event_vectors=reference.events.event_vectors)
    found = disagreements(reference.events, alike)
    return [f"Reference and sample differ: {sentence}." for sentence in found]
