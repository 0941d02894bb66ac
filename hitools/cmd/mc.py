"""hi-mc: run a real event generator (Pythia 8 Angantyr, UrQMD) into event files and streams."""

import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

import click

from hitools.cmd.common import (
    EXIT_INTERRUPTED,
    Lineage,
    command,
    finite,
    output_option,
    provenance_option,
    quiet_option,
    say,
    seed_option,
    tracked,
    workers_option,
)

if TYPE_CHECKING:
    from hitools.core.sources.generation import GeneratorOptions, Setting
    from hitools.core.sources.pool import Production

_GENERATORS = ("angantyr", "urqmd")


class _Generator(click.ParamType):
    """One of the generators that run here; chromo's others get the way that they can take."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in _GENERATORS:
            self.fail(
                f"{value!r}: there are {' and '.join(_GENERATORS)} (chromo's other models, like "
                "EPOS and DPMJET, need data files from the web: let chromo write HepMC, for "
                "hi-prep)",
                param,
                ctx,
            )
        return str(value)


@command("hi-mc")
@click.option(
    "--generator",
    type=_Generator(),
    default="angantyr",
    show_default=True,
    help="angantyr or urqmd.",
)
@click.option(
    "--system", metavar="A-B", default="O-O", show_default=True, help="O-O, Pb-Pb, p-Pb, p-p, ..."
)
@click.option(
    "--sqrt-s-nn",
    "sqrt_s_nn_gev",
    metavar="GEV",
    type=click.FloatRange(0, min_open=True),
    callback=finite,
    default=5360.0,
    show_default=True,
    help="Energy per nucleon pair.",
)
@click.option(
    "-n", "--number", "n_events", type=click.IntRange(1), required=True, help="How many events."
)
@output_option
@click.option(
    "--eta-max",
    type=click.FloatRange(0, 20, min_open=True),
    callback=finite,
    default=2.5,
    show_default=True,
    help="Keep particles with |eta| below this.",
)
@click.option(
    "--pt-min",
    metavar="GEV",
    type=click.FloatRange(0),
    callback=finite,
    default=0.0,
    show_default=True,
    help="Keep particles with pT above this.",
)
@click.option("--all", "neutral_too", is_flag=True, help="Keep neutral particles, too.")
@click.option("--weighted", is_flag=True, help="Pythia's own sampling of b, with event weights.")
@click.option(
    "--set", "settings", metavar="'KEY = VALUE'", multiple=True, help="A setting of Pythia's."
)
@click.option(
    "--card", "cards", metavar="FILE", multiple=True, help="A file of such settings (before --set)."
)
@click.option("--keep-partial", is_flag=True, help="On Ctrl-C, keep the events made so far.")
@workers_option
@seed_option
@provenance_option
@quiet_option
def main(
    generator: str,
    system: str,
    sqrt_s_nn_gev: float,
    n_events: int,
    output: str,
    eta_max: float,
    pt_min: float,
    neutral_too: bool,
    weighted: bool,
    settings: tuple[str, ...],
    cards: tuple[str, ...],
    keep_partial: bool,
    workers: int,
    seed: int,
    no_provenance: bool,
    quiet: bool,
) -> None:
    """Generate heavy-ion events.

    By default minimum-bias O-O events at 5.36 TeV, charged final-state particles in |eta| < 2.5.
    Event k depends on the seed and the options, not on -n or -j.
    """
    from contextlib import ExitStack

    from hitools.core.format.meta import EventMeta, Selection
    from hitools.core.format.writer import open_writer
    from hitools.core.sources.generation import GeneratorOptions
    from hitools.core.sources.nuclei import parse_system
    from hitools.core.sources.pool import Production

    options = GeneratorOptions(
        generator="urqmd" if generator == "urqmd" else "angantyr",
        system=parse_system(system),
        sqrt_s_nn_gev=sqrt_s_nn_gev,
        selection=Selection(charged=not neutral_too, eta_max=eta_max, pt_min=pt_min),
        seed=seed,
        weighted=weighted,
        settings=_all_settings(cards, settings),
    )
    meta = EventMeta(str(options.system), sqrt_s_nn_gev, options.selection)

    def tell(sentence: str) -> None:
        say(sentence, quiet=quiet)

    with ExitStack() as stack:
        # The output is opened first: it would be a pity to find out after starting Pythia.
        lineage = Lineage(seed=seed, keep=not no_provenance)
        out = stack.enter_context(open_writer(output, lineage.stamp(meta)))
        production = stack.enter_context(Production(options, n_events, workers, tell))
        batches = tracked(production, n_events, f"{system} events", quiet=quiet)
        interruption = stack.enter_context(_Interruption())
        for batch in interruption.until(batches):
            out.write(batch)
        if interruption.happened and not (keep_partial and production.n_made):
            raise KeyboardInterrupt
    tell(_account(production, options))
    if interruption.happened:
        raise click.exceptions.Exit(EXIT_INTERRUPTED)


def _all_settings(cards: tuple[str, ...], settings: tuple[str, ...]) -> "tuple[Setting, ...]":
    from hitools.core.sources.angantyr import read_card
    from hitools.core.sources.generation import Setting

    from_cards = (setting for card in cards for setting in read_card(card))
    return (*from_cards, *(Setting(text, "--set") for text in settings))


def _account(production: "Production", options: "GeneratorOptions") -> str:
    kept = f"{production.n_made} events of {production.name}"
    if not options.weighted:
        kept += ", all of weight 1 (100% kept: the impact parameter is sampled evenly)"
    if left_out := production.n_generated - production.n_made:
        kept += f"; {left_out} more, without a particle ({options.selection}), are left out"
    return kept


class _Interruption:
    """Makes Ctrl-C an end of the events; a context manager.

    Waiting for a batch can be interrupted; writing one cannot, because HDF5 loses exceptions that
    come while it writes, or is left with half a batch. A second Ctrl-C does not wait.

    Attributes:
        happened: whether there was one.
    """

    def __init__(self) -> None:
        self.happened = False
        self._waiting = False

    def until(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The same batches, until the interrupt."""
        while not self.happened:
            try:
                self._waiting = True
                batch = next(batches, None)
                self._waiting = False
            except KeyboardInterrupt:
                return
            if batch is None:
                return
            yield batch

    def _handle(self, number: int, frame: object) -> None:  # noqa: ARG002
        insists = self.happened
        self.happened = True
        if self._waiting or insists:
            self._waiting = False
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)
