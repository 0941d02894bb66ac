"""Memory of temporary tensors on the CPU: kept by the process, not given back after each use."""

import ctypes
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""Names of glibc's mallopt(3)."""

_LARGEST_KEPT: Final = 32 << 20
"""Bytes of an allocation that is kept: the most that glibc takes."""

_MOST_KEPT: Final = 256 << 20
"""Bytes at the end of the heap."""


def keep_freed_memory() -> None:
    """Spare the pages of every large tensor from being mapped and cleared anew, where glibc is.

    A pass of the rotary network makes and frees many tensors of a few MB: 8% of sampling.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_TRIM_THRESHOLD, _MOST_KEPT)
