"""Peak memory of a training step against the number of particles in the event.

    python benchmarks/memory.py [--json] [--device cuda] [N ...]

One event of N particles, forward and backward through the paper's particle branch, each N in a
process of its own. On the CPU: the peak resident memory above that of a step with 64 particles.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

DEFAULT_SIZES = (1000, 2000, 4000, 8000, 16_000)


def measure(n_particles: int, device: str) -> dict[str, float]:
    """Peak memory in MiB and seconds of one step."""
    import torch

    from hitools.core.diffusion.objective import losses
    from hitools.core.nets.model import Denoiser

    if device == "cpu":
        torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Denoiser().to(device)

    def step(n: int) -> None:
        shapes = [(1, 11), (n, 6), (1, 11), (n, 6)]
        events, particles, event_noise, particle_noise = (
            torch.randn(shape, device=device) for shape in shapes
        )
        loss = losses(
            model,
            events,
            particles,
            torch.tensor([0, n]),
            torch.ones(1, device=device),
            torch.full((1,), 0.5, device=device),
            event_noise,
            particle_noise,
        )
        (loss.event.value + loss.particle.value).backward()

    def peak() -> float:
        if device == "cpu":
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() / 2**20

    step(64)
    before = peak()
    start = time.perf_counter()
    step(n_particles)
    after = peak()
    seconds = time.perf_counter() - start
    return {"n_particles": n_particles, "peak_mib": after - before, "seconds": seconds}


def main() -> None:
    """Print the table, or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", nargs="*", type=int, default=DEFAULT_SIZES, metavar="N")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--here", action="store_true", help="measure in this process")
    options = parser.parse_args()

    if options.here:
        print(json.dumps([measure(n, options.device) for n in options.sizes]))
        return
    rows = []
    for n in options.sizes:
        command = [sys.executable, __file__, "--here", "--device", options.device, str(n)]
        rows += json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    if options.json:
        print(json.dumps(rows))
        return
    print("particles  peak MiB  KiB per particle  seconds")
    for row in rows:
        per_particle = row["peak_mib"] * 1024 / row["n_particles"]
        print(
            f"{row['n_particles']:>9}  {row['peak_mib']:>8.0f}  {per_particle:>16.1f}"
            f"  {row['seconds']:>7.1f}"
        )


if __name__ == "__main__":
    main()
