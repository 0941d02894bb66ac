"""torch.compile for the network, for whoever asks for it: its machinery takes seconds to import.

What loops over events or searches neighbours stays as it is; what lies between is compiled, for
any number of particles.
"""

import torch

from hitools.core.nets import attention, pet
from hitools.core.nets.edges import LocalLayer
from hitools.core.nets.networks import Network


def compile_network(model: Network) -> None:
    """Compile both branches in place, when they are first used."""
    attention.attend = torch.compiler.disable(attention.attend)
    pet.nearest_neighbours = torch.compiler.disable(pet.nearest_neighbours)
    for module in model.modules():
        if isinstance(module, LocalLayer):
            module.forward = torch.compiler.disable(module.forward)  # type: ignore[method-assign]
    for part in model.compiled_parts():
        part.compile(dynamic=True)
