"""What fixes the shape of the network; stored in a model's config.json. Defaults are the paper's.

With them the body of the particle branch has 1,313,408 parameters, its head 416,006 and the event
branch 417,803: 2,147,217 in all.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from hitools.core.errors import InputError
from hitools.core.features import EVENT_COLUMNS, PARTICLE_COLUMNS
from hitools.core.nets.sizes import check_sizes


@dataclass(frozen=True)
class NetConfig:
    """Sizes of both branches.

    Attributes:
        n_particle_features: features of a particle, denoised by the particle branch.
        n_event_features: features of an event, denoised by the event branch.
        n_classes: length of the class label that both branches take (one-hot).
        width: channels of a particle inside the network.
        n_heads: attention heads; width must be a multiple of it.
        n_blocks: transformer blocks of the body.
        n_head_blocks: conditional transformer blocks of the generator head.
        n_event_blocks: residual blocks of the event branch.
        n_neighbours: K, nearest neighbours of a particle in each local layer.
        n_local_layers: local (edge) layers in front of the transformer.
        neighbour_columns: particle features that span the space of the first local layer's
            neighbourhoods; (phi_rel, pt_rel) in the paper.
        layer_scale: initial value of LayerScale.
    """

    kind: ClassVar[str] = "pet"

    EVENT_SIZES: ClassVar[tuple[str, ...]] = ("n_event_blocks",)
    """Of what draws event vectors: particles do not depend on them."""

    n_particle_features: int = len(PARTICLE_COLUMNS)
    n_event_features: int = len(EVENT_COLUMNS)
    n_classes: int = 1
    width: int = 128
    n_heads: int = 4
    n_blocks: int = 8
    n_head_blocks: int = 2
    n_event_blocks: int = 2
    n_neighbours: int = 10
    n_local_layers: int = 2
    neighbour_columns: tuple[int, ...] = (0, 1)
    layer_scale: float = 1e-5

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit together."""
        check_sizes(self)
        if self.width % self.n_heads:
            raise InputError(
                f"network: width {self.width} is not a multiple of n_heads {self.n_heads}"
            )
        if not all(0 <= column < self.n_particle_features for column in self.neighbour_columns):
            raise InputError(
                f"network: neighbour_columns {self.neighbour_columns} must lie in "
                f"0..{self.n_particle_features - 1}"
            )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "neighbour_columns": list(self.neighbour_columns)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "NetConfig":
        """The inverse of to_dict. Raises InputError for a name that is not a field."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise InputError(f"network: unknown settings {', '.join(sorted(unknown))}")
        # A list as JSON has it.
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**known)
