"""How commands show trained models: as a list (hi-sample) and one by one (hi-info)."""

from typing import TYPE_CHECKING, Any, Final

from hitools.cmd.common import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from hitools.core.model.shipped import ModelSummary

_WIDEST: Final = 10_000


def print_models(models: "Sequence[ModelSummary]") -> None:
    """A line a model, on standard output: none is cut, however narrow the terminal."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("model", "collisions", "weights", "sampling", "description"):
        table.add_column(title, justify="right" if title == "weights" else "left", no_wrap=True)
    for model in models:
        table.add_row(
            model.name, model.collisions, _weights(model), model.sampling, model.description
        )
    out = console()
    out.width = out.measure(table, options=out.options.update(width=_WIDEST)).maximum
    out.print(table)


def _weights(model: "ModelSummary") -> str:
    return "none yet" if model.n_weights is None else f"{model.n_weights:,}"


def print_model(out: "Console", model: "ModelSummary") -> None:
    """The lines that hi-info has for models alone."""
    preset = model.training.get("preset", "unknown")
    out.print(f"  model          {_weights(model)} weights, preset {preset}")
    if model.description:
        out.print(f"  description    {model.description}")
    out.print(f"  sampling       {model.sampling}, unless hi-sample is told otherwise")
    n_train, n_validation = (model.data.get(name) for name in ("n_train", "n_validation"))
    if n_train is not None:
        stream = " of a stream's first events" if model.data.get("stream") else ""
        out.print(f"  training       {n_train:,} events{stream}, {n_validation:,} to validate with")


def as_dict(model: "ModelSummary") -> dict[str, Any]:
    """For JSON, beside what every input of hi-info has."""
    return {
        "model": model.name,
        "description": model.description,
        "n_weights": model.n_weights,
        "sampling": {
            "solver": model.solver,
            "steps": model.steps,
            "small_solver": model.small_solver,
            "small_steps": model.small_steps,
            "grid": model.grid,
            "corrections": model.corrections,
            "evaluations": model.evaluations,
        },
        "data": model.data,
        "training": model.training,
    }
