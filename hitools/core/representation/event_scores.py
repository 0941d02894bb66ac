"""Scores of an event vector: which there are, and the quantities behind them."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from hitools.core.features import EVENT_INDEX
from hitools.core.representation.quantiles import QuantileMap

EVENT_SCORES: Final = (
    "n_particles",
    "mean_pt",
    "q_along",
    "q_across",
    "b",
    "n_coll",
    "n_part",
    "mean_eta",
    "mean_phi",
)
"""Event features of the model: Q in units of its random walk, means in units of their spread."""

WITHIN_N: Final = ("mean_pt", "q_along", "mean_eta", "mean_phi")
"""Those that are normal within every class of multiplicity, and not only over all: spread and
shape of a mean over particles change with their number."""


_INSIDE: Final = 0.999
"""Of the interval that rounds to a count: no rounding of a map and back leads out of it."""


def alone(name: str) -> bool:
    """Whether an event score is one of Aligned.events."""
    return name not in (*WITHIN_N, "q_across")


def given_n(events: Mapping[str, QuantileMap], n_particles: Tensor) -> Tensor:
    """Score of a whole number of particles, which conditional maps are given."""
    return events["n_particles"].encode(n_particles)


def event_quantities(events: Tensor) -> dict[str, Tensor]:
    """(n_events, 11) to the (n_events,) quantity behind each of EVENT_SCORES.

    Counts are spread over the interval that rounds to them, by the last digits of other columns:
    numbers that belong to the event, so that encoding stays a function.
    """
    column = {name: events[:, i] for name, i in EVENT_INDEX.items()}
    n = column["n_particles"].clamp(min=1)
    root = n.sqrt()
    walk = root * column["mean_pt"]
    return {
        "n_particles": column["n_particles"] + _last_digits(column["sum_pt"], 512),
        "mean_pt": column["mean_pt"].log(),
        "q_along": column["q_x"] / walk,
        "q_across": column["q_y"] / walk,
        "b": column["b"],
        "n_coll": column["n_coll"] + _last_digits(column["mean_eta"], 16384),
        "n_part": column["n_part"] + _last_digits(column["mean_phi"], 16384),
        "mean_eta": column["mean_eta"] * root,
        "mean_phi": column["mean_phi"] * root,
    }


def turn_of(z: Tensor) -> Tensor:
    """(n_events,) psi_2 of (n_events, 9 or more) scores, by which events are turned."""
    rows = _by_name(z)
    return torch.atan2(rows["q_across"], rows["q_along"]) / 2


def condition_of(z: Tensor) -> Tensor:
    """(n_events, 8): scores that do not depend on the direction of the event plane."""
    return _without_plane(_by_name(z))


def turning_of(z: Tensor) -> Tensor:
    """(n_events, 7): those that stay when an event is turned: mean_phi knows the laboratory."""
    rows = _by_name(z)
    del rows["mean_phi"]
    return _without_plane(rows)


def _by_name(z: Tensor) -> dict[str, Tensor]:
    return dict(zip(EVENT_SCORES, z[:, : len(EVENT_SCORES)].unbind(1), strict=True))


def _without_plane(rows: dict[str, Tensor]) -> Tensor:
    length = torch.hypot(rows["q_along"], rows["q_across"])
    others = [row for name, row in rows.items() if name not in ("q_along", "q_across")]
    return torch.stack([*others, length], dim=1)


def _last_digits(values: Tensor, scale: int) -> Tensor:
    """A number between -1/2 and 1/2 that nothing else depends on."""
    phase = values.double() * scale
    return _INSIDE * ((phase - phase.floor()).to(values.dtype) - 0.5)
