"""Memory that is kept: counted by the kernel, in a process of its own."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from hitools.core.memory import keep_freed_memory

torch.set_num_threads(1)
if sys.argv[1] == "kept":
    keep_freed_memory()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def four():
    [torch.ones(1 << 21) for _ in range(4)]

for _ in range(5):
    four()
before = faults()
for _ in range(20):
    four()
print(faults() - before)
"""


def faults(how: str) -> int:
    """Page faults of 20 times four tensors of 8 MB."""
    words = [sys.executable, "-c", PROGRAM, how]
    return int(subprocess.run(words, capture_output=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_pages_are_not_mapped_anew_for_every_tensor():
    assert faults("kept") < 0.2 * faults("as it comes")
