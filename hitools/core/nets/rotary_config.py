"""Sizes of the rotary network; stored in a model's config.json."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from hitools.core.errors import InputError
from hitools.core.nets.fields import DENSITIES
from hitools.core.nets.rotary import N_TURNED
from hitools.core.nets.sizes import check_sizes


@dataclass(frozen=True)
class RotaryConfig:
    """Sizes of both branches.

    Attributes:
        width: channels of a particle inside the network.
        n_heads: attention heads.
        head_width: channels of a head; the positions take the first 24.
        n_blocks: transformer blocks.
        n_feedbacks: how often, evenly between the blocks, what the sums still miss is fed back;
            once more at the end. 0 leaves out all of it: the slices then are a condition only.
        n_densities: which densities are looked at around a particle, see fields.py.
        event_width: channels of the branch for event vectors.
        vector_parts: of the mixtures that event vectors are drawn from (vector_branch.py); 0: they
            are denoised, as in models of before.
        n_event_blocks: residual blocks of the branch for slices of eta, and of that one where
            event vectors are denoised.
        slice_width: channels of the branch for slices, each of them where slice_told is not 0.
        slice_told: numbers that a slice tells the others in a block; 0: the scores of all slices
            are one row, as in models of before.
        hard_width: channels of the branch for hard particles, where these are drawn first.
        whole_width: of the one for all particles of small events (whole_branch.py); 0: these are
            drawn as others are, as in models of before.
    """

    kind: ClassVar[str] = "rotary"

    EVENT_SIZES: ClassVar[tuple[str, ...]] = (
        "event_width",
        "vector_parts",
        "n_event_blocks",
        "slice_width",
        "slice_told",
        "hard_width",
        "whole_width",
    )
    """Of what draws event vectors, slices, hard particles and whole events: the others do not
    depend on them."""

    BEFORE: ClassVar[dict[str, int]] = {
        "slice_told": 0,
        "n_densities": 2,
        "vector_parts": 0,
        "whole_width": 0,
    }
    """What models have that were stored before there was a choice."""

    width: int = 48
    n_heads: int = 1
    head_width: int = 32
    n_blocks: int = 2
    n_feedbacks: int = 1
    n_densities: int = 3
    event_width: int = 64
    vector_parts: int = 8
    n_event_blocks: int = 4
    slice_width: int = 80
    slice_told: int = 24
    hard_width: int = 128
    whole_width: int = 128

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit together."""
        check_sizes(self)
        if self.head_width < 2 * N_TURNED or self.head_width % 2:
            raise InputError(
                f"network: head_width {self.head_width}, expected an even number, "
                f"at least {2 * N_TURNED}"
            )
        if self.n_densities > len(DENSITIES):
            raise InputError(
                f"network: n_densities {self.n_densities}, expected at most {len(DENSITIES)}"
            )
        if not 0 <= self.n_feedbacks < self.n_blocks:
            raise InputError(f"network: n_feedbacks {self.n_feedbacks}, expected fewer than blocks")

    @property
    def feedback_blocks(self) -> tuple[int, ...]:
        """Blocks before which the shortfall is fed back."""
        places = range(1, self.n_feedbacks + 1)
        return tuple(-(-self.n_blocks * place // (self.n_feedbacks + 1)) for place in places)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RotaryConfig":
        """The inverse of to_dict. Raises InputError for a name that is not a field."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise InputError(f"network: unknown settings {', '.join(sorted(unknown))}")
        return cls(**{**cls.BEFORE, **values})
