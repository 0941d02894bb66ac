"""Trained models by name: those that the package ships, and a folder of the user's own.

`hi-sample -m oo-5360` and `hi-train --init oo-5360` find them here; a model in a folder that the
user names is found first. A model says of itself what a list of models shows, without its weights
being loaded and without torch.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hitools.core.errors import InputError
from hitools.core.model.folder import ModelFolder

if TYPE_CHECKING:
    from hitools.core.format.meta import EventMeta

DEFAULT: Final = "oo-5360"
"""What hi-sample takes where nobody names a model."""

OWN_MODELS: Final = "HITOOLS_MODELS"
"""Environment variable: a folder of further models, which come before the shipped ones."""

CARD: Final = "README.md"
"""The model card of a folder."""

EVALUATIONS_PER_STEP: Final = {
    **dict.fromkeys(("ddim", "ddpm", "dpm++2m", "euler", "ab2", "sab2"), 1),
    **dict.fromkeys(("midpoint", "heun"), 2),
}
"""What diffusion.solvers says of its solvers, here without torch."""

_SHIPPED: Final = Path(__file__).parents[2] / "models"


def model_libraries() -> tuple[Path, ...]:
    """Folders that hold models by name, in the order in which they are searched."""
    own = os.environ.get(OWN_MODELS)
    return (*((Path(own),) if own else ()), _SHIPPED)


def named_models(libraries: Sequence[Path] | None = None) -> dict[str, ModelFolder]:
    """Every model that has a name, in alphabetical order; the first of two of a name.

    Args:
        libraries: folders of models; None for model_libraries().
    """
    found: dict[str, ModelFolder] = {}
    for library in model_libraries() if libraries is None else libraries:
        for path in library.iterdir() if library.is_dir() else ():
            folder = ModelFolder(path)
            if folder.begun():
                found.setdefault(path.name, folder)
    return dict(sorted(found.items()))


def find_model(name: str, libraries: Sequence[Path] | None = None) -> ModelFolder:
    """The model in the folder of this path where there is one, else the one of this name.

    Args:
        name: as the user gave it.
        libraries: as for named_models.

    Raises:
        InputError: neither; the sentence lists the names there are.
    """
    if Path(name).is_dir():
        return ModelFolder(name)
    models = named_models(libraries)
    if name in models:
        return models[name]
    raise InputError(f"{name}: no model here: no such folder, and {_names(models)}")


def default_model(libraries: Sequence[Path] | None = None) -> ModelFolder:
    """The model of the name DEFAULT. Raises InputError where there is none."""
    models = named_models(libraries)
    if DEFAULT not in models:
        raise InputError(f"-m MODEL says which model: a folder, or a name; {_names(models)}")
    return models[DEFAULT]


def _names(models: dict[str, ModelFolder]) -> str:
    if not models:
        return "this hitools ships no models"
    return f"the models by name are {', '.join(models)}"


@dataclass(frozen=True)
class ModelSummary:
    """What a model says of itself.

    Attributes:
        name: of its folder.
        description: the first sentence of its card, or "".
        meta: system, energy, selection and provenance of its training events.
        n_weights: numbers in model.safetensors; None where no epoch is complete yet.
        solver: that hi-sample uses by default.
        steps: of it.
        small_solver: the same in small events.
        small_steps: of it at most, where that is more.
        grid: of their times.
        corrections: how often particles of other events are then moved to their sums.
        evaluations: of the particle network for an event, at most; None for a solver unknown here.
        data: counts of events, as in config.json.
        training: options, as in config.json.
    """

    name: str
    description: str
    meta: "EventMeta"
    n_weights: int | None
    solver: str
    steps: int
    small_solver: str
    small_steps: int
    grid: str
    corrections: int
    evaluations: int | None
    data: dict[str, Any]
    training: dict[str, Any]

    @property
    def collisions(self) -> str:
        """For people: "O-O, 5360 GeV"."""
        energy = self.meta.sqrt_s_nn_gev
        return f"{self.meta.system or 'unknown'}, " + (
            "energy unknown" if math.isnan(energy) else f"{energy:g} GeV"
        )

    @property
    def sampling(self) -> str:
        """For people: "ab2, 4 steps (power grid), 4 evaluations, 1 correction"."""
        whole, small = (self.solver, self.steps), (self.small_solver, self.small_steps)
        shown = [describe_solver(*whole, *small, self.grid)]
        if self.evaluations is not None:
            at_most = "at most " if small[1] > self.steps else ""
            shown.append(f"{at_most}{self.evaluations} evaluations")
        if self.corrections:
            shown.append(f"{self.corrections} correction{'s' if self.corrections > 1 else ''}")
        return ", ".join(shown)


def describe_solver(solver: str, steps: int, small_solver: str, small_steps: int, grid: str) -> str:
    """For people: "ab2, 4 steps, up to 16 of sab2 in small events (power grid)"."""
    most = max(steps, small_steps)
    of_other = f" of {small_solver}" if small_solver != solver else ""
    differs = of_other or most > steps
    small = f", up to {most}{of_other} in small events" if differs else ""
    return f"{solver}, {steps} steps{small} ({grid} grid)"


def summarise(folder: ModelFolder) -> ModelSummary:
    """Read configuration, card and the header of the weights. Raises InputError for no model."""
    values = folder.read_values()
    with folder.as_written():
        sampling = values["sampling"]
        solver, steps = str(sampling["solver"]), int(sampling["steps"])
        small_solver = str(sampling.get("small_solver") or solver)
        small_steps = int(sampling.get("small_steps", 0))
        grid = str(sampling.get("grid", "uniform"))
        corrections = int(sampling.get("corrections", 0))
        data, training = dict(values["data"]), dict(values["training"])
    per_step = [EVALUATIONS_PER_STEP.get(name) for name in (solver, small_solver)]
    all_steps = (steps, max(steps, small_steps))
    # The first is of pure noise, where a formula may stand for the network.
    spared = 0 if values.get("first_velocity") is None else 1
    return ModelSummary(
        name=folder.path.resolve().name,
        description=_description(folder.path / CARD),
        meta=folder.meta_of(values),
        n_weights=_count_weights(folder.weights_path),
        solver=solver,
        steps=steps,
        small_solver=small_solver,
        small_steps=small_steps,
        grid=grid,
        corrections=corrections,
        evaluations=_most_evaluations(per_step, all_steps, spared),
        data=data,
        training=training,
    )


def _most_evaluations(
    per_step: Sequence[int | None], steps: Sequence[int], spared: int
) -> int | None:
    """For an event of either kind, large or small; None where a solver is unknown."""
    known = [one for one in per_step if one is not None]
    if len(known) < len(per_step):
        return None
    return max(one * n for one, n in zip(known, steps, strict=True)) - spared


def _description(card: Path) -> str:
    """The first sentence of the card's first paragraph, on one line."""
    try:
        # People write cards: a letter of another encoding is no reason to show none of them.
        paragraphs = card.read_text(encoding="utf-8", errors="replace").split("\n\n")
    except OSError:
        return ""
    first = next((text for text in paragraphs if text.strip() and not text.startswith("#")), "")
    sentence, stop, _ = " ".join(first.split()).partition(". ")
    return (sentence + stop).strip()


def _count_weights(path: Path) -> int | None:
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: damaged: {error}") from None
    return sum(math.prod(shape) for shape in shapes)
