"""Size and reading time of the event format against gzip and against the padded array.

    python benchmarks/format.py oo.h5

prints the file's size over gzip -1 of the real rows alone, and the time of h5py reading the padded
array whole over the time of our reader, on the same file, in turn.
"""

import statistics
import sys
import time
import zlib
from pathlib import Path

import h5py

from hitools.core.format.reader import open_events

REPEATS = 5


def main(path: Path) -> None:
    """Measure and print."""
    gzipped = n_events = n_particles = 0
    packer = zlib.compressobj(1)
    with open_events(path) as events:
        for batch in events:
            gzipped += len(packer.compress(batch.particles.tobytes()))
            n_events += len(batch)
            n_particles += len(batch.particles)
    gzipped += len(packer.flush())
    size = path.stat().st_size
    print(f"{path}: {n_events} events, {n_particles} particles, {size / 1e6:.1f} MB")
    print(f"size over gzip -1 of the real rows: {size / gzipped:.3f}")
    whole, ours = [], []
    for _ in range(REPEATS):
        start = time.perf_counter()
        with h5py.File(path) as file:
            file["particles"][:]
        whole.append(time.perf_counter() - start)
        start = time.perf_counter()
        with open_events(path) as events:
            for _ in events:
                pass
        ours.append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(whole, ours, strict=True)]
    print(f"padded array whole: {statistics.median(whole):.2f} s")
    print(f"our reader:         {statistics.median(ours):.2f} s")
    low, high = min(ratios), max(ratios)
    print(f"ratio pair by pair: {statistics.median(ratios):.1f} ({low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
