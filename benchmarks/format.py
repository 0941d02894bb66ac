"""Size and reading time of the event format against gzip and against the padded array.

    python benchmarks/format.py oo.h5

prints the file's size over gzip -1 of the real rows alone, and the time of h5py reading the padded
array whole over the time of our reader, in turn: on the same file, and on one that holds the same
array in the chunks that h5py proposes. All are seconds of processor time in one thread.
"""

import statistics
import sys
import tempfile
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
    with tempfile.TemporaryDirectory() as folder:
        padded = Path(folder) / "padded.h5"
        write_padded(path, padded)
        times = [(of_h5py(path), of_h5py(padded), of_our_reader(path)) for _ in range(REPEATS)]
    whole, padded_file, ours = zip(*times, strict=True)
    print(f"our reader:                           {statistics.median(ours):.2f} s")
    for name, theirs in (("whole", whole), ("whole, from a file chunked by h5py", padded_file)):
        ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
        print(
            f"{name + ':':37} {statistics.median(theirs):.2f} s, in pairs "
            f"{statistics.median(ratios):.1f} times ours ({min(ratios):.1f} to {max(ratios):.1f})"
        )


def write_padded(path: Path, padded: Path) -> None:
    """The padded array with the same filters, but in chunks as h5py proposes them."""
    with h5py.File(path) as file, h5py.File(padded, "w") as out:
        out.create_dataset(
            "particles",
            data=file["particles"][:],
            compression="gzip",
            compression_opts=1,
            shuffle=True,
            fletcher32=True,
        )


def of_h5py(path: Path) -> float:
    """Seconds in which h5py reads the padded array whole."""
    start = time.process_time()
    with h5py.File(path) as file:
        file["particles"][:]
    return time.process_time() - start


def of_our_reader(path: Path) -> float:
    """Seconds in which our reader reads all events."""
    start = time.process_time()
    with open_events(path) as events:
        for _ in events:
            pass
    return time.process_time() - start


if __name__ == "__main__":
    main(Path(sys.argv[1]))
