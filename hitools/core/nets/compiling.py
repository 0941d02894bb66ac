"""torch.compile for the network, for whoever asks for it: its machinery takes seconds to import.

What loops over events or searches neighbours stays as it is; what lies between is compiled, for
any number of particles.
"""

from typing import Final

import torch
from torch._dynamo import config as dynamo

from hitools.core.nets import attention, pet
from hitools.core.nets.edges import LocalLayer
from hitools.core.nets.networks import Network

KINDS_OF_DENSE_LAYER: Final = 32
"""One function computes all dense layers, and is compiled once for each of their shapes."""


def compile_network(model: Network) -> None:
    """Compile both branches in place, when they are first used."""
    # By default PyTorch gives up after 8, with a warning to whoever trains.
    dynamo.recompile_limit = KINDS_OF_DENSE_LAYER
    attention.attend = torch.compiler.disable(attention.attend)
    pet.nearest_neighbours = torch.compiler.disable(pet.nearest_neighbours)
    for module in model.modules():
        if isinstance(module, LocalLayer):
            module.forward = torch.compiler.disable(module.forward)  # type: ignore[method-assign]
    for part in model.compiled_parts():
        part.compile(dynamic=True)
