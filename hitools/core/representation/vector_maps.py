"""Maps between event vectors and their scores: nine numbers, from which all eleven follow."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hitools.core.features import (
    COUNT_COLUMNS,
    EVENT_COLUMNS,
    EVENT_INDEX,
    Float32Array,
    FloatArray,
)
from hitools.core.representation.event_scores import (
    EVENT_SCORES,
    WITHIN_N,
    alone,
    event_quantities,
    given_n,
    turn_of,
)
from hitools.core.representation.quantiles import ConditionalMap, QuantileMap


@dataclass(frozen=True)
class VectorMaps:
    """Scores of event vectors.

    Attributes:
        events: maps of the EVENT_SCORES that do not depend on n_particles.
        within: maps of WITHIN_N given the score of n_particles; q_along holds the one of |Q|.
        limits: lowest and highest value of the count columns, b and mean_pt in the training events.
    """

    events: dict[str, QuantileMap]
    within: dict[str, ConditionalMap]
    limits: dict[str, tuple[float, float]]

    @classmethod
    def fit(cls, vectors: FloatArray) -> "VectorMaps":
        """Measure the maps on (n_events, 11) vectors of events with particles."""
        quantities = event_quantities(torch.from_numpy(vectors))
        maps = {
            name: QuantileMap.fit(quantities[name].numpy()) for name in EVENT_SCORES if alone(name)
        }
        given = given_n(maps, torch.from_numpy(vectors[:, EVENT_INDEX["n_particles"]])).numpy()
        length = torch.hypot(quantities["q_along"], quantities["q_across"])
        within = {
            name: ConditionalMap.fit(quantities[name].numpy(), given)
            for name in WITHIN_N
            if name != "q_along"
        } | {"q_along": ConditionalMap.fit(length.numpy(), given, "rayleigh")}
        limits = {}
        for name in ("mean_pt", "b", *COUNT_COLUMNS):
            column = vectors[:, EVENT_INDEX[name]]
            limits[name] = float(column.min()), float(column.max())
        return cls(maps, within, limits)

    def encode(self, events: Tensor) -> Tensor:
        """(n_events, 11) to (n_events, 9) scores."""
        quantities = event_quantities(events)
        given = given_n(self.events, events[:, EVENT_INDEX["n_particles"]])
        along, across = quantities["q_along"], quantities["q_across"]
        length = torch.hypot(along, across)
        quantities["q_along"] = length
        columns = {name: one.encode(quantities[name]) for name, one in self.events.items()} | {
            name: one.encode(quantities[name], given) for name, one in self.within.items()
        }
        stretch = columns["q_along"] / length.clamp(min=1e-12)
        columns |= {"q_along": along * stretch, "q_across": across * stretch}
        return torch.stack([columns[name] for name in EVENT_SCORES], dim=1)

    def decode(self, z: Tensor, eta_max: float) -> tuple[Float32Array, int]:
        """(n_events, 9) scores to (n_events, 11) vectors, and how many of them had to be moved.

        Counts are rounded, values outside the range of the training events moved into it; sum_pt,
        Q and psi_2 follow from the rest.
        """
        z = z.float()
        scores = dict(zip(EVENT_SCORES, z.unbind(1), strict=True))
        values = {name: _on_host(one.decode(scores[name])) for name, one in self.events.items()}
        outside = np.zeros(len(z), bool)

        def inside(name: str) -> None:
            low, high = self.limits[name]
            moved = np.clip(values[name], low, high)
            outside[moved != values[name]] = True
            values[name] = moved

        for name in COUNT_COLUMNS:
            values[name] = np.rint(values[name])
        for name in self.events:
            inside(name)
        n = np.maximum(values["n_particles"], 1)
        means = self.within_n(z, torch.from_numpy(n).to(z.device, z.dtype))
        values |= {name: _on_host(one) for name, one in means.items()}
        values["mean_pt"] = np.exp(values["mean_pt"])
        inside("mean_pt")
        psi = _on_host(turn_of(z))
        q = np.clip(values.pop("q_along") * np.sqrt(n), 0, n) * values["mean_pt"]
        values |= {
            "sum_pt": n * values["mean_pt"],
            "q_x": q * np.cos(2 * psi),
            "q_y": q * np.sin(2 * psi),
            "psi_2": psi,
            "mean_eta": np.clip(values["mean_eta"] / np.sqrt(n), -eta_max, eta_max),
            "mean_phi": np.clip(values["mean_phi"] / np.sqrt(n), -np.pi, np.pi),
        }
        columns = [values[name] for name in EVENT_COLUMNS]
        return np.stack(columns, axis=1).astype(np.float32), int(outside.sum())

    def within_n(self, z: Tensor, n_particles: Tensor) -> dict[str, Tensor]:
        """The quantity behind each of WITHIN_N, of (n_events,) particles; q_along: length of Q."""
        rows = dict(zip(EVENT_SCORES, z.unbind(1), strict=False))
        rows["q_along"] = torch.hypot(rows["q_along"], rows["q_across"])
        given = given_n(self.events, n_particles)
        found = {name: one.decode(rows[name], given) for name, one in self.within.items()}
        return found | {"q_along": found["q_along"].clamp(min=0)}

    def to_dict(self) -> dict[str, Any]:
        """For from_dict, in JSON's types."""
        return {
            "events": {name: one.to_dict() for name, one in (self.events | self.within).items()},
            "limits": {name: list(pair) for name, pair in self.limits.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "VectorMaps":
        """Of to_dict; other keys do not matter."""
        events = values["events"]
        return cls(
            {name: QuantileMap.from_dict(one) for name, one in events.items() if alone(name)},
            {name: ConditionalMap.from_dict(events[name]) for name in WITHIN_N},
            {name: (float(low), float(high)) for name, (low, high) in values["limits"].items()},
        )


def _on_host(values: Tensor) -> FloatArray:
    return values.double().cpu().numpy()
