"""What all configurations of networks ask of their sizes."""

import math
from dataclasses import fields
from typing import Any

from hitools.core.errors import InputError

MAY_BE_0 = (
    "n_local_layers",
    "n_head_blocks",
    "n_feedbacks",
    "slice_told",
    "vector_parts",
    "whole_width",
)

MOST = 1 << 16
"""A thousand times what anybody trains: a slip of the keyboard, and memory for nothing."""


def check_sizes(config: Any) -> None:
    """Raise InputError where a field of a dataclass is not of its type, or below what it can be."""
    for size in fields(config):
        value = getattr(config, size.name)
        least = 0 if size.name in MAY_BE_0 else 1
        if size.type is int and (type(value) is not int or value < least):
            raise InputError(
                f"network: {size.name} {value}, expected a whole number from {least} on"
            )
        if size.type is int and value > MOST:
            raise InputError(f"network: {size.name} {value}, expected at most {MOST}")
        if size.type is float and not (isinstance(value, int | float) and math.isfinite(value)):
            raise InputError(f"network: {size.name} {value}, expected a finite number")
        if size.type not in (int, float) and not isinstance(value, tuple):
            raise InputError(f"network: {size.name} {value}, expected several numbers")
