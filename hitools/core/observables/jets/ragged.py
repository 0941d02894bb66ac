"""Arrays of rows of different length, packed one row after another with offsets."""

import numpy as np

from hitools.core.features import IntArray


def offsets_of(counts: IntArray) -> IntArray:
    """(n + 1,) int64 where each row begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def take_rows(offsets: IntArray, rows: IntArray) -> tuple[IntArray, IntArray]:
    """Which items belong to these rows, in that order.

    Args:
        offsets: (n_rows + 1,).
        rows: (m,) indices of rows.

    Returns:
        (n_items,) indices of the items, and (m + 1,) offsets of the rows among them.
    """
    counts = np.diff(offsets)[rows]
    taken = offsets_of(counts)
    return np.repeat(offsets[rows] - taken[:-1], counts) + np.arange(taken[-1]), taken
