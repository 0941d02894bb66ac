"""How many particles go through the network at once: bounded memory, for training and sampling."""

import logging
from collections.abc import Callable
from typing import Final, TypeVar

import torch

from hitools.core.errors import InputError

log = logging.getLogger(__name__)

CPU_PARTICLES: Final = 8192
"""Enough that small operations cost little: training is a fifth faster than with a quarter of it,
and sampling no faster with twice as many."""

GPU_PARTICLES: Final = 1 << 16
"""Default on an accelerator; halved as often as its memory asks for."""


T = TypeVar("T")


def fitting(work: Callable[[], T]) -> T | None:
    """What work makes; None where that does not fit into the memory of the device.

    Nothing of the attempt is left then: until an exception is done with, it holds what was in use.
    """
    try:
        return work()
    except torch.OutOfMemoryError:
        return None


class Budget:
    """A number of particles that shrinks when the device runs out of memory.

    Attributes:
        particles: most particles of a pass; an event above it is a pass of its own.
    """

    def __init__(self, particles: int | None, device: torch.device) -> None:
        """None chooses by device."""
        default = CPU_PARTICLES if device.type == "cpu" else GPU_PARTICLES
        self.particles = particles or default

    def shrink(self, largest_event: int) -> None:
        """Halve after an out-of-memory error, and give the memory back.

        Raises InputError where a single event was too much already.
        """
        if self.particles < largest_event:
            raise InputError(
                f"an event of {largest_event} particles does not fit into the memory of the GPU"
            )
        self.particles //= 2
        torch.cuda.empty_cache()
        log.warning("out of GPU memory: going on with %d particles at once", self.particles)
