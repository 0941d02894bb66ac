"""The networks by kind: what a model folder or a preset names, built for its representation."""

from collections.abc import Mapping
from typing import Any

from hitools.core.errors import InputError
from hitools.core.nets.config import NetConfig
from hitools.core.nets.model import Denoiser
from hitools.core.nets.rotary_config import RotaryConfig
from hitools.core.nets.rotary_net import RotaryNet
from hitools.core.scaling import Representation

NetworkConfig = NetConfig | RotaryConfig
Network = Denoiser | RotaryNet

CONFIGS: dict[str, type[NetworkConfig]] = {one.kind: one for one in (NetConfig, RotaryConfig)}


def config_to_dict(config: NetworkConfig) -> dict[str, Any]:
    """Kind and sizes as plain JSON values."""
    return {"kind": config.kind, **config.to_dict()}


def config_from_dict(values: Mapping[str, Any]) -> NetworkConfig:
    """The inverse of config_to_dict; without a kind, the paper's.

    Raises InputError for an unknown kind or setting.
    """
    settings = dict(values)
    kind = settings.pop("kind", NetConfig.kind)
    if kind not in CONFIGS:
        raise InputError(f"network: kind {kind!r}, expected one of {', '.join(CONFIGS)}")
    return CONFIGS[kind].from_dict(settings)


def resized(config: NetworkConfig, sizes: Mapping[str, float]) -> NetworkConfig:
    """The same network with other sizes of its event branch.

    Raises InputError for the size of anything else: its weights would fit no more.
    """
    for name, size in sizes.items():
        if name not in config.EVENT_SIZES and size != config.to_dict().get(name):
            raise InputError(
                f"--net {name}: a model to start from keeps its sizes, "
                f"except {', '.join(config.EVENT_SIZES)}"
            )
    return type(config).from_dict(config.to_dict() | dict(sizes))


def build(config: NetworkConfig, representation: Representation) -> Network:
    """A network with random weights. Raises InputError where the two do not go together."""
    from hitools.core.representation.aligned import Aligned

    if isinstance(config, NetConfig):
        return Denoiser(config)
    if not isinstance(representation, Aligned):
        raise InputError(
            f"network: kind {config.kind!r} goes with the representation {Aligned.name!r}, "
            f"not {representation.name!r}"
        )
    if representation.whole_below and not config.whole_width:
        raise InputError("network: whole_width 0, but the representation has whole events")
    return RotaryNet(config, representation)
