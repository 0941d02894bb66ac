"""hi-prep: events of any origin into our format, checked, selected, and split into data sets."""

import math
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from hitools.cmd.common import (
    Lineage,
    command,
    finite,
    input_arguments,
    provenance_option,
    quiet_option,
    say,
    seed_option,
    tracked,
)

if TYPE_CHECKING:
    from collections import Counter
    from contextlib import AbstractContextManager

    from hitools.core.dataset import SplitWriter
    from hitools.core.format.faults import Fault
    from hitools.core.format.meta import EventMeta
    from hitools.core.format.writer import EventWriter
    from hitools.core.sources.foreign import Charge


class _Pairs(click.ParamType):
    """QUANTITY=NAME of a fixed list of quantities."""

    name = "QUANTITY=NAME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        from hitools.core.sources.root import QUANTITIES

        quantity, _, name = str(value).partition("=")
        if quantity not in QUANTITIES or not name:
            expected = f"expected QUANTITY=NAME with one of {', '.join(QUANTITIES)}"
            self.fail(f"{value!r}: {expected}", param, ctx)
        return quantity, name


class _Columns(click.ParamType):
    """Meanings of columns, comma separated."""

    name = "NAME,..."

    def __init__(self, which: str) -> None:
        self._which = which

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        from hitools.core.sources import jetnet

        known = getattr(jetnet, self._which)
        names = tuple(str(value).split(","))
        for name in names:
            if name not in known:
                self.fail(f"{name!r}: expected some of {', '.join(known)}", param, ctx)
        return names


@command("hi-prep")
@input_arguments()
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    default="-",
    help="Output file, or folder with --split; - (the default) is standard output, as a stream.",
)
@click.option(
    "--split",
    metavar="NAME=SHARE,...",
    help="Make a data set: train=0.71,test=0.22,val=0.07, and scaling.json.",
)
@click.option(
    "--on-bad",
    type=click.Choice(["error", "drop"]),
    default="error",
    show_default=True,
    help="What to do at a bad event: stop and name it, or leave it out and count it.",
)
@click.option(
    "--eta-max",
    metavar="X",
    type=click.FloatRange(0, min_open=True),
    callback=finite,
    help="|eta| limit.  [2.5]",
)
@click.option(
    "--pt-min",
    metavar="GEV",
    type=click.FloatRange(0),
    callback=finite,
    help="Lower pT limit in GeV/c.  [0]",
)
@click.option("--all", "keep_all", is_flag=True, help="Keep neutral particles too.")
@click.option("--assume-charged", is_flag=True, help="Every particle of the input is charged.")
@click.option("--no-geometry", is_flag=True, help="Set b, n_coll and n_part to 0.")
@click.option("--system", help="Collision system that the input does not name, like O-O.")
@click.option(
    "--sqrt-s-nn",
    metavar="GEV",
    type=click.FloatRange(0, min_open=True),
    callback=finite,
    help="Energy per nucleon pair in GeV that the input does not tell.",
)
@click.option("--tree", metavar="NAME", help="ROOT: the tree, where there are several.")
@click.option(
    "--branch", "branches", type=_Pairs(), multiple=True, help="ROOT: where a quantity is."
)
@click.option(
    "--particle-columns",
    type=_Columns("PARTICLE_COLUMNS"),
    help="HDF5 table: meaning of each particle column.",
)
@click.option(
    "--event-columns",
    type=_Columns("EVENT_COLUMNS"),
    help="HDF5 table: meaning of each jet or event column.",
)
@click.option("--mev", is_flag=True, help="ROOT, HDF5 table: momenta are in MeV/c.")
@seed_option
@provenance_option
@quiet_option
def main(
    inputs: tuple[str, ...],
    output: str,
    split: str | None,
    on_bad: str,
    eta_max: float | None,
    pt_min: float | None,
    keep_all: bool,
    assume_charged: bool,
    no_geometry: bool,
    system: str | None,
    sqrt_s_nn: float | None,
    tree: str | None,
    branches: tuple[tuple[str, str], ...],
    particle_columns: tuple[str, ...] | None,
    event_columns: tuple[str, ...] | None,
    mev: bool,
    seed: int,
    no_provenance: bool,
    quiet: bool,
) -> None:
    """Turn events of any origin into event files, checked and selected.

    INPUT is an event file or stream, HepMC2 or HepMC3 text (gzip'ed too), a ROOT file, or an HDF5
    table as of JetNet or OmniLearn; what it is shows in its content. See hi-prep(1).
    """
    if keep_all and assume_charged:
        raise click.UsageError("--all and --assume-charged exclude each other")
    if len(dict(branches)) < len(branches):
        raise click.UsageError("--branch gives a quantity twice")
    if split is not None and output == "-":
        raise click.UsageError("--split makes a folder: name it with -o")

    from collections import Counter
    from pathlib import Path

    from hitools.core.dataset import Split, open_data_set
    from hitools.core.errors import InputError
    from hitools.core.format.writer import open_writer
    from hitools.core.sources.detect import Inputs
    from hitools.core.sources.foreign import InputOptions

    charge: Charge = "all" if keep_all else "assumed" if assume_charged else "charged"
    options = InputOptions(
        eta_max=eta_max,
        pt_min=pt_min,
        charge=charge,
        geometry=not no_geometry,
        gev_per_unit=1e-3 if mev else 1.0,
        tree=tree,
        branches=dict(branches),
        particle_columns=particle_columns,
        event_columns=event_columns,
    )
    parts = None if split is None else Split.parse(split, seed)
    lineage = Lineage(seed=None if parts is None else seed, keep=not no_provenance)
    dropped: Counter[str] = Counter()

    def handle(where: str, fault: "Fault") -> None:
        if on_bad == "error":
            way_out = "(--on-bad drop leaves such events out)"
            raise InputError(f"{where}: event {fault.event}: {fault.detail} {way_out}")
        dropped[fault.reason] += 1

    written = 0
    _keep_stdout_for_data()
    with Inputs(inputs, options, handle) as source:

        def meta() -> "EventMeta":
            return lineage.stamp(_stated(source.meta, system, sqrt_s_nn))

        target: AbstractContextManager[EventWriter | SplitWriter] = (
            open_writer(output, meta())
            if parts is None
            else open_data_set(Path(output), parts, meta())
        )
        with target as out:
            for batch in tracked(source, source.n_events, "events", quiet=quiet):
                out.meta = meta()
                out.write(batch)
                written += len(batch)
            out.meta = meta()
            if not written:
                raise InputError(f"no event is left; {_dropped(dropped, written) or 'none came'}")
    if no_geometry:
        say("b, n_coll and n_part are 0 (--no-geometry)", quiet=quiet)
    if dropped:
        say(_dropped(dropped, written), quiet=quiet)


def _stated(meta: "EventMeta", system: str | None, sqrt_s_nn: float | None) -> "EventMeta":
    """What the input says of itself, completed by what the user says."""
    from dataclasses import replace

    from hitools.core.errors import InputError

    if system is not None:
        if meta.system not in (None, system):
            raise InputError(f"--system {system}: the input says {meta.system}")
        meta = replace(meta, system=system)
    if sqrt_s_nn is not None:
        if not (math.isnan(meta.sqrt_s_nn_gev) or meta.sqrt_s_nn_gev == sqrt_s_nn):
            raise InputError(
                f"--sqrt-s-nn {sqrt_s_nn:g}: the input says {meta.sqrt_s_nn_gev:g} GeV"
            )
        meta = replace(meta, sqrt_s_nn_gev=sqrt_s_nn)
    return meta


def _dropped(dropped: "Counter[str]", written: int) -> str:
    if not dropped:
        return ""
    reasons = "; ".join(f"{count} {reason}" for reason, count in dropped.most_common())
    total = dropped.total()
    return f"dropped {total} of {total + written} events: {reasons}"


def _keep_stdout_for_data() -> None:
    """From now on only Python reaches standard output.

    HepMC3's reader prints its complaints to C++ standard output, in the middle of our stream.
    """
    own = os.dup(sys.stdout.fileno())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    sys.stdout = os.fdopen(own, "w")
