"""Between physical events and what the network sees, both ways, for training and sampling.

A representation turns event vectors and particles into numbers of order one, and samples back into
physical events, mending what no event can hold. Its constants are plain JSON in a model's
config.json: a model works without the data it was trained on. What stands here is what all
representations share and the paper's, `Standardised`; representation/by_name.py finds one by name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.features import (
    COUNT_COLUMNS,
    EVENT_COLUMNS,
    EVENT_INDEX,
    PARTICLE_COLUMNS,
    PARTICLE_INDEX,
    Float32Array,
    FloatArray,
    wrap_angle,
)

LOGARITHMIC: Final = ("pt", "mean_pt", "sum_pt", "n_coll", "n_part", "n_particles")
"""Columns that may be learnt as logarithms: positive, with a long tail."""

CLIPPED: Final = ("mean_pt", "sum_pt", "b", *COUNT_COLUMNS)
"""Event columns with edges that physics or the data set; samples are kept inside the range seen."""


@dataclass(frozen=True)
class Mended:
    """How many sampled values had to be moved to where an event can have them.

    Attributes:
        events: event vectors with a value outside the range seen in training.
        pt: particles below the lowest or above the highest pT.
        eta: particles outside the |eta| limit.
    """

    events: int = 0
    pt: int = 0
    eta: int = 0

    def __add__(self, other: "Mended") -> "Mended":
        """Both together."""
        return Mended(self.events + other.events, self.pt + other.pt, self.eta + other.eta)

    def __str__(self) -> str:
        """For people."""
        return (
            f"moved into the range of the training events: {self.events:,} event vectors, "
            f"{self.pt:,} pT, {self.eta:,} eta"
        )


class Representation(Protocol):
    """What the training loop and the generator ask of a representation.

    Attributes:
        name: in representations.REPRESENTATIONS and in config.json.
        n_event_features: numbers that stand for an event vector.
        n_coarse_features: numbers that say more of an event as a whole than its vector does, drawn
            between the vector and the particles; 0 for none.
        n_particle_features: numbers that stand for a particle.
        n_hard_sums: sums that particles which are drawn before the others are known to add to; 0
            where none are.
    """

    name: ClassVar[str]

    @classmethod
    def fit(
        cls,
        batches: Iterable[EventBatch],
        *,
        log_columns: Iterable[str] = (),
        slice_harmonics: tuple[int, ...] = (),
        hard_from: float | None = None,
        whole_below: int = 0,
        eta_max: float | None = None,
        pt_min: float = 0.0,
    ) -> Self:
        """Measure the constants on training events."""

    def with_ranges_of(self, other: Self) -> Self:
        """These constants with the limits of other data: how scaling is kept in stage 2."""

    @property
    def n_event_features(self) -> int: ...  # noqa: D102

    @property
    def n_coarse_features(self) -> int: ...  # noqa: D102

    @property
    def n_particle_features(self) -> int: ...  # noqa: D102

    @property
    def n_hard_sums(self) -> int: ...  # noqa: D102

    def encode(self, events: Tensor, particles: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Physical to model space.

        Args:
            events: (n_events, 11) float32 event vectors.
            particles: (n_total, 6) float32 particles, packed.
            offsets: (n_events + 1,) int64.

        Returns:
            (n_events, n_event_features + n_coarse_features) and (n_total, n_particle_features)
            float32; the second with another column where some are drawn before the others.
        """

    def encode_events(self, events: Tensor) -> Tensor:
        """(n_events, n_event_features): what an event vector says without particles."""

    def decode_events(self, z: Tensor) -> tuple[Float32Array, int]:
        """Sampled event vectors in physical units, (n_events, 11), and how many were mended."""

    def decode_particles(
        self, x: Tensor, events: Float32Array, counts: np.ndarray
    ) -> tuple[FloatArray, FloatArray, FloatArray, Mended]:
        """(pT, eta, phi) of sampled particles, each (n_total,), and what was mended.

        Args:
            x: (n_total, n_particle_features) samples.
            events: (n_events, 11) physical event vectors they were sampled for.
            counts: (n_events,) particles per event.
        """

    def momenta(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(pT, phi) of particles in model space, differentiable: what L_psi sees."""

    def event_plane(self, z: Tensor) -> Tensor:
        """(n_events,) psi_2 of event vectors in model space."""

    def to_dict(self) -> dict[str, Any]:
        """All constants as plain JSON."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of to_dict."""


@dataclass(frozen=True)
class Columns:
    """Standardisation constants of some columns, one entry for each.

    Attributes:
        log: whether the column is learnt as its logarithm.
        mean: of the column, or of its logarithm.
        std: likewise; 1 for a column that never changes.
        low: smallest physical value seen.
        high: largest physical value seen.
    """

    _NAMES: ClassVar[tuple[str, ...]] = ("log", "mean", "std", "low", "high")

    log: tuple[bool, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    _tensors: dict[torch.device, tuple[Tensor, Tensor, Tensor]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Log mask, mean and std as tensors on a device; made once."""
        if device not in self._tensors:
            mean, std = (
                torch.tensor(values, dtype=torch.float32, device=device)
                for values in (self.mean, self.std)
            )
            self._tensors[device] = torch.tensor(self.log, device=device), mean, std
        return self._tensors[device]

    def encode(self, values: Tensor) -> Tensor:
        """(n, columns) physical to standardised."""
        log, mean, std = self.on(values.device)
        if any(self.log):
            floor = torch.finfo(torch.float32).tiny
            values = torch.where(log, values.clamp(min=floor).log(), values)
        return (values - mean) / std

    def decode(self, values: Tensor) -> Tensor:
        """The inverse of encode."""
        log, mean, std = self.on(values.device)
        values = values * std + mean
        # No float32 overflows on the way: e^80.
        return torch.where(log, values.clamp(max=80).exp(), values) if any(self.log) else values

    def to_dict(self) -> dict[str, list[Any]]:
        """As plain lists."""
        return {name: list(getattr(self, name)) for name in self._NAMES}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Columns":
        """The inverse of to_dict."""
        log, mean, std, low, high = (tuple(values[name]) for name in cls._NAMES)
        return cls(log, mean, std, low, high)


class Moments:
    """Mean, standard deviation and range of columns over data that come in pieces."""

    def __init__(self, names: tuple[str, ...], log_columns: Iterable[str]) -> None:
        """Columns by name, and which of them are to be learnt as logarithms."""
        self.names = names
        self.log = np.array([name in set(log_columns) for name in names])
        self.count = 0
        # Plain and logarithmic sums side by side: which is wanted turns out at the end.
        self.mean = np.zeros((2, len(names)))
        self.squares = np.zeros((2, len(names)))
        self.low = np.full(len(names), np.inf)
        self.high = np.full(len(names), -np.inf)

    def add(self, values: FloatArray) -> None:
        """(n, columns) more rows (the update of Chan, Golub and LeVeque 1983, eq. 2.1)."""
        if not len(values):
            return
        plain = values.astype(np.float64)
        self.low = np.minimum(self.low, plain.min(0))
        self.high = np.maximum(self.high, plain.max(0))
        with np.errstate(divide="ignore", invalid="ignore"):
            logarithm = np.where(self.log, np.log(np.maximum(plain, 0)), 0)
        finite = np.where(np.isfinite(logarithm), logarithm, 0)
        both = np.stack([plain, finite])
        n_new, n_all = len(values), self.count + len(values)
        mean = both.mean(1)
        shift = mean - self.mean
        squares = ((both - mean[:, None]) ** 2).sum(1)
        self.squares += squares + shift**2 * (self.count * n_new / n_all)
        self.mean += shift * (n_new / n_all)
        self.count = n_all

    def columns(self) -> Columns:
        """The constants; a column that is not positive throughout stays linear."""
        log = self.log & (self.low > 0)
        chosen, every = log.astype(int), np.arange(len(self.names))
        std = np.sqrt(self.squares[chosen, every] / max(self.count, 1))
        # A column that never changes carries nothing, but must not divide by its rounding.
        constant = std <= 1e-7 * np.maximum(1, np.abs(self.mean[chosen, every]))
        return Columns(
            log=tuple(bool(one) for one in log),
            mean=tuple(map(float, self.mean[chosen, every])),
            std=tuple(map(float, np.where(constant, 1.0, std))),
            low=tuple(map(float, self.low)),
            high=tuple(map(float, self.high)),
        )


@dataclass(frozen=True)
class Standardised:
    """Every feature minus its mean over its standard deviation (paper, section III B).

    A particle's pT is read back from pt_rel and the event's mean_pt, so it is positive; eta and phi
    from the absolute features. Samples below the lowest pT or beyond the |eta| limit are reflected
    there; a pT above the highest of the training events is set to that.

    Attributes:
        events: constants of the 11 event features. The multiplicity, like the other counts, is
            rounded to an integer on the way back.
        particles: constants of the 6 particle features.
        eta_max: |eta| limit of the selection.
        pt_min: lowest pT in GeV/c: of the selection or, where that is lower, the lowest seen.
    """

    name: ClassVar[str] = "standardised"

    events: Columns
    particles: Columns
    eta_max: float
    pt_min: float

    @classmethod
    def fit(
        cls,
        batches: Iterable[EventBatch],
        *,
        log_columns: Iterable[str] = (),
        slice_harmonics: tuple[int, ...] = (),
        hard_from: float | None = None,
        whole_below: int = 0,
        eta_max: float | None = None,
        pt_min: float = 0.0,
    ) -> "Standardised":
        """Measure the constants on training events.

        Args:
            batches: the events; those without particles do not count.
            log_columns: features to learn as logarithms, among LOGARITHMIC.
            slice_harmonics: none: there are no slices here.
            hard_from: None: no particles are drawn before others.
            whole_below: 0 likewise.
            eta_max: |eta| limit of the selection, the largest seen where it is unknown.
            pt_min: lower pT limit of the selection in GeV/c.

        Raises:
            InputError: no particles at all, a value that is not finite, an unknown column,
                harmonics of slices, a threshold of hard particles.
        """
        if slice_harmonics:
            raise InputError(
                f"scaling: the representation {cls.name!r} has no slices to take harmonics in"
            )
        if hard_from is not None or whole_below:
            raise InputError(f"scaling: the representation {cls.name!r} has no hard particles")
        log_columns = tuple(log_columns)
        unknown = set(log_columns) - set(LOGARITHMIC)
        if unknown:
            raise InputError(
                f"scaling: no logarithm of {', '.join(sorted(unknown))}; "
                f"expected some of {', '.join(LOGARITHMIC)}"
            )
        events, particles = (
            Moments(EVENT_COLUMNS, log_columns),
            Moments(PARTICLE_COLUMNS, log_columns),
        )
        for batch in batches:
            events.add(batch.events[batch.n_particles > 0])
            particles.add(batch.particles)
        if not particles.count:
            raise InputError("scaling: the training events hold no particles")
        for moments in (events, particles):
            if not np.isfinite(moments.mean).all():
                bad = moments.names[int(np.argmin(np.isfinite(moments.mean).all(0)))]
                raise InputError(f"scaling: a training event has a {bad} that is not finite")
        constants = particles.columns()
        seen = max(abs(limits[PARTICLE_INDEX["eta"]]) for limits in (constants.low, constants.high))
        return cls(
            events.columns(),
            constants,
            max(seen, eta_max or 0.0),
            max(pt_min, constants.low[PARTICLE_INDEX["pt"]]),
        )

    def with_ranges_of(self, other: "Standardised") -> "Standardised":
        """See Representation."""

        def ranged(mine: Columns, theirs: Columns) -> Columns:
            return Columns(mine.log, mine.mean, mine.std, theirs.low, theirs.high)

        return Standardised(
            ranged(self.events, other.events),
            ranged(self.particles, other.particles),
            other.eta_max,
            other.pt_min,
        )

    @property
    def n_event_features(self) -> int:
        """11."""
        return len(EVENT_COLUMNS)

    @property
    def n_coarse_features(self) -> int:
        """None."""
        return 0

    @property
    def n_particle_features(self) -> int:
        """6."""
        return len(PARTICLE_COLUMNS)

    @property
    def n_hard_sums(self) -> int:
        """None."""
        return 0

    def encode(
        self,
        events: Tensor,
        particles: Tensor,
        offsets: Tensor,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """See Representation."""
        return self.events.encode(events), self.particles.encode(particles)

    def encode_events(self, events: Tensor) -> Tensor:
        """See Representation."""
        return self.events.encode(events)

    def decode_events(self, z: Tensor) -> tuple[Float32Array, int]:
        """See Representation.

        Values with edges (CLIPPED) are moved to the nearest one seen in training, counts are
        rounded, psi_2 is wrapped into (-pi/2, pi/2]. Nothing else is touched: the vector is what
        the event branch generated, and need not be consistent in itself.
        """
        values = self.events.decode(z.float()).double().cpu().numpy()
        outside = np.zeros(len(values), bool)
        for name in CLIPPED:
            column = EVENT_INDEX[name]
            low, high = self.events.low[column], self.events.high[column]
            if name in COUNT_COLUMNS:
                values[:, column] = np.rint(values[:, column])
            inside = np.clip(values[:, column], low, high)
            outside |= inside != values[:, column]
            values[:, column] = inside
        psi_2 = EVENT_INDEX["psi_2"]
        values[:, psi_2] = wrap_angle(2 * values[:, psi_2]) / 2
        return values.astype(np.float32), int(outside.sum())

    def decode_particles(
        self, x: Tensor, events: Float32Array, counts: np.ndarray
    ) -> tuple[FloatArray, FloatArray, FloatArray, Mended]:
        """See Representation."""
        physical = self.particles.decode(x.float()).double().cpu().numpy()
        mean_pt = np.repeat(events[:, EVENT_INDEX["mean_pt"]].astype(np.float64), counts)
        log_pt = np.log(mean_pt) + physical[:, PARTICLE_INDEX["pt_rel"]]
        low, high = np.log(self.pt_min), np.log(self.particles.high[PARTICLE_INDEX["pt"]])
        outside_pt = (log_pt < low) | (log_pt > high)
        log_pt = np.minimum(reflect(log_pt, low, np.inf), high)
        eta = physical[:, PARTICLE_INDEX["eta"]]
        outside_eta = np.abs(eta) > self.eta_max
        eta = reflect(eta, -self.eta_max, self.eta_max)
        phi = wrap_angle(physical[:, PARTICLE_INDEX["phi"]])
        mended = Mended(pt=int(outside_pt.sum()), eta=int(outside_eta.sum()))
        return np.exp(log_pt), eta, phi, mended

    def momenta(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See Representation."""
        physical = self.particles.decode(x)
        return physical[:, PARTICLE_INDEX["pt"]], physical[:, PARTICLE_INDEX["phi"]]

    def event_plane(self, z: Tensor) -> Tensor:
        """See Representation."""
        return self.events.decode(z)[:, EVENT_INDEX["psi_2"]]

    def to_dict(self) -> dict[str, Any]:
        """See Representation."""
        return {
            "name": self.name,
            "events": self.events.to_dict(),
            "particles": self.particles.to_dict(),
            "eta_max": self.eta_max,
            "pt_min": self.pt_min,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Standardised":
        """See Representation."""
        return cls(
            Columns.from_dict(values["events"]),
            Columns.from_dict(values["particles"]),
            float(values["eta_max"]),
            float(values["pt_min"]),
        )


def reflect(values: FloatArray, low: float, high: float) -> FloatArray:
    """Values mirrored at the edge that they lie beyond; what then misses the other edge, clipped.

    A density that ends in a sharp edge and was smeared over it gets its edge back, where clipping
    would pile the smeared part up on it.
    """
    mirrored = np.where(values < low, 2 * low - values, values)
    mirrored = np.where(mirrored > high, 2 * high - mirrored, mirrored)
    return np.clip(mirrored, low, high)
