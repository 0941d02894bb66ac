"""hi-sample: new events from a trained model, as a stream or a file."""

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from hitools.cmd.common import (
    Lineage,
    command,
    output_option,
    provenance_option,
    quiet_option,
    say,
    seed_option,
    tracked,
)
from hitools.cmd.ends import heed_an_end

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hitools.core.batch import EventBatch
    from hitools.core.features import Float32Array
    from hitools.core.format.meta import EventMeta, EventVectors

_SOLVERS = ("ddim", "ddpm", "midpoint", "dpm++2m", "euler", "heun", "ab2", "sab2")


@command("hi-sample")
@click.option(
    "-m", "--model", metavar="MODEL", help="A trained model: its folder, or a name of the list."
)
@click.option("-n", "--events", "n_events", type=click.IntRange(0), help="How many events.")
@output_option
@click.option("--select", metavar="EXPR", help="Only events where EXPR holds: 'b<5'.")
@click.option("--like", metavar="FILE", help="Particles for the event vectors of FILE.")
@click.option(
    "--recompute", is_flag=True, help="Store the event vectors that follow from the particles."
)
@click.option("--solver", type=click.Choice(_SOLVERS), help="[default: the model's]")
@click.option("--steps", type=click.IntRange(1), help="Solver steps. [default: the model's]")
@click.option("--event-steps", type=click.IntRange(1), help="The same for event vectors.")
@click.option("--grid", type=click.Choice(["uniform", "cosine", "power"]), help="Times of steps.")
@click.option("--corrections", type=click.IntRange(0), help="Moves to the sums of events.")
@click.option("--precision", type=click.Choice(["float32", "bf16"]), default="float32")
@click.option("--budget", metavar="PARTICLES", type=click.IntRange(1), help="Per network pass.")
@click.option(
    "-j", "--processes", type=click.IntRange(1), default=1, show_default=True, help="Processes."
)
@seed_option
@provenance_option
@quiet_option
def main(
    model: str | None,
    n_events: int | None,
    output: str,
    select: str | None,
    like: str | None,
    recompute: bool,
    precision: str,
    budget: int | None,
    processes: int,
    seed: int,
    no_provenance: bool,
    quiet: bool,
    **solving: Any,
) -> None:
    """Sample events from a trained model.

    Without any of -m, -n and --like: list the models that have a name. With -n alone: sample from
    the model oo-5360.

    The stored event vectors are those that the model generated, unless --recompute asks for those
    of the particles.
    """
    from hitools.cmd.launching import is_worker, launch, process_of_many

    with process_of_many():
        from hitools.core.errors import InputError
        from hitools.core.selection import Selection

        if n_events is None and like is None:
            if model is None:
                _list_models()
                return
            raise click.UsageError("-n N says how many events")
        if like is not None and select is not None:
            raise InputError(
                "--select goes with drawing event vectors; cut those of --like with hi-cat"
            )
        selection = Selection(select) if select is not None else None
        if processes > 1 and not is_worker():
            launch("hitools.cmd.sample", processes)

        from dataclasses import astuple, replace
        from functools import partial

        from hitools.core.generator import Generator
        from hitools.core.model.sampling import Sampling
        from hitools.core.model.shipped import default_model, find_model
        from hitools.core.processes import accelerated, autocast_for, from_first, in_order, summed
        from hitools.core.scaling import Mended

        folder = find_model(model) if model else default_model()
        network, config = folder.read_model()
        given = {name: value for name, value in solving.items() if value is not None}
        stored: EventVectors = "particles" if recompute else "generated"
        lineage = Lineage(seed=seed, keep=not no_provenance)
        meta = lineage.stamp(replace(config.meta, event_vectors=stored))
        with accelerated() as accelerator:
            if model is None and accelerator.is_main_process:
                say(f"the model is {folder.path.name}, as -m names no other", quiet=quiet)
            vectors = None
            if like is not None:
                vectors = from_first(accelerator, partial(_event_vectors, like))
                n_events = len(vectors) if n_events is None else n_events
            generator = Generator(
                network,
                config,
                Sampling.of(seed, config.sampling, given),
                accelerator.device,
                budget=budget,
                autocast=autocast_for(precision, accelerator.device),
                select=selection,
                like=vectors,
            )
            made = in_order(accelerator, generator.blocks(n_events or 0), generator.make)
            with closing(made):
                if accelerator.is_main_process:
                    shown = tracked(made, n_events, "events", quiet=quiet)
                    _write(shown, output, meta, recompute=recompute)
                else:
                    _work(made)
            mended = Mended(*summed(accelerator, astuple(generator.mended)))
            if accelerator.is_main_process:
                say(str(mended), quiet=quiet)


def _list_models() -> None:
    from hitools.cmd.models import print_models
    from hitools.core.model.shipped import default_model, named_models, summarise

    models = named_models()
    if not models:
        default_model()  # says that there are none
    print_models([summarise(folder) for folder in models.values()])


def _write(
    batches: "Iterable[EventBatch]", output: str, meta: "EventMeta", *, recompute: bool
) -> None:
    from hitools.core.format.writer import open_writer

    heed_an_end()
    with open_writer(output, meta) as out:
        for batch in batches:
            out.write(batch.recomputed() if recompute else batch)


def _work(batches: "Iterable[EventBatch]") -> None:
    """One process of several: what it makes goes to the first."""
    for _ in batches:
        pass


def _event_vectors(source: str) -> "Float32Array":
    """The event vectors of a file or stream: all of them, 44 bytes each."""
    import numpy as np

    from hitools.core.batch import EventBatch
    from hitools.core.errors import InputError
    from hitools.core.format.reader import open_events

    with open_events(source) as events:
        vectors = np.concatenate([batch.events for batch in events] or [EventBatch.empty().events])
    if not len(vectors):
        raise InputError(f"{source}: holds no events to sample particles for")
    return vectors


if __name__ == "__main__":
    sys.argv[0] = "hi-sample"
    main()
