"""The velocity of particles that are nothing but noise yet: a formula instead of a network.

At t = 1 a noised particle says nothing of what it will become, so all particles of an event have
the same velocity: minus the mean of the particles that its scores promise. A trained network knows
it, but works it out from every particle again, at a quarter of the cost of four steps. Here it is
linear in the scores of the event vector, in all scores over the root of the number of particles, as
sums are over their number, and in what hard particles that are known add to the sums, over that
number; measured once on the network itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

N_EVENTS_PER_FEATURE: Final = 5
"""Fewer events do not tell the coefficients."""

_RIDGE: Final = 1.0
"""In events: what the data do not say stays 0."""


@dataclass(frozen=True)
class FirstVelocity:
    """Velocity at t = 1 from what particles are given.

    Attributes:
        n_event_features: the first of the given scores, which are those of the event vector.
        coefficients: for each of _features, one for each feature of a particle.
    """

    n_event_features: int
    coefficients: tuple[tuple[float, ...], ...]

    @classmethod
    def fit(
        cls,
        n_event_features: int,
        given: Tensor,
        n_particles: Tensor,
        of_hard: Tensor,
        velocities: Tensor,
    ) -> "FirstVelocity | None":
        """Least squares, an event with the root of its particles as its weight.

        Errors matter most in large events, but the law is least linear in small ones. None where
        there are too few events.

        Args:
            n_event_features: see the class.
            given: (n_events, n_given) what particles are sampled given.
            n_particles: (n_events,).
            of_hard: (n_events, k) what particles that are known add to the sums; k may be 0.
            velocities: (n_events, n_particle_features) mean of the particles of each event.
        """
        features = _features(n_event_features, given, n_particles, of_hard).double()
        n_events, n_features = features.shape
        if n_events < N_EVENTS_PER_FEATURE * n_features:
            return None
        weights = n_particles.double().sqrt()[:, None]
        weights = weights / weights.mean()
        square = features.T @ (weights * features)
        square += _RIDGE * torch.eye(n_features, dtype=square.dtype, device=square.device)
        found = torch.linalg.solve(square, features.T @ (weights * velocities.double()))
        return cls(
            n_event_features, tuple(tuple(float(f"{one:.6g}") for one in row) for row in found)
        )

    def __call__(self, given: Tensor, n_particles: Tensor, of_hard: Tensor) -> Tensor:
        """(n_events, n_particle_features); see fit for the arguments."""
        features = _features(self.n_event_features, given, n_particles, of_hard)
        return features @ features.new_tensor(self.coefficients)

    def check(
        self, n_event_features: int, n_given: int, n_of_hard: int, n_particle_features: int
    ) -> None:
        """Raise ValueError where the numbers are for events and particles of another kind."""
        n_features = 2 + n_event_features + n_given + n_of_hard
        expected = [n_particle_features] * n_features
        if (
            self.n_event_features != n_event_features
            or list(map(len, self.coefficients)) != expected
        ):
            raise ValueError(
                f"first_velocity: expected {n_event_features} event features and "
                f"{n_features} rows of {n_particle_features} coefficients"
            )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"n_event_features": self.n_event_features, "coefficients": self.coefficients}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FirstVelocity":
        """The inverse of to_dict."""
        return cls(
            int(values["n_event_features"]),
            tuple(tuple(map(float, row)) for row in values["coefficients"]),
        )


def _features(n_event_features: int, given: Tensor, n_particles: Tensor, of_hard: Tensor) -> Tensor:
    """(n_events, 2 + n_event_features + n_given + k) numbers that the velocity is linear in."""
    of_event, of_slices = given[:, :n_event_features], given[:, n_event_features:]
    root = n_particles.to(given.dtype).clamp(min=1).sqrt()[:, None]
    return torch.cat(
        [
            torch.ones_like(root),
            1 / root,
            of_event,
            of_event / root,
            of_slices / root,
            of_hard / root.square(),
        ],
        dim=1,
    )
