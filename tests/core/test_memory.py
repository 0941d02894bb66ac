"""Memory that is kept: counted by the kernel, in a process of its own."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from hitools.core.memory import keep_freed_memory

torch.set_num_threads(1)
keep_freed_memory()

def four():
    [torch.ones(1 << 21) for _ in range(4)]

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for _ in range(5):
    four()
before = faults()
for _ in range(20):
    four()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_pages_are_not_mapped_anew_for_every_tensor():
    """Four of 8 MB, twenty times: as it comes, up to 160,000 page faults."""
    words = [sys.executable, "-c", PROGRAM]
    assert int(subprocess.run(words, capture_output=True, check=True).stdout) < 1000
