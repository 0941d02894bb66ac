"""Several processes of Accelerate, real ones."""

import subprocess
import sys

import pytest

from tests.conftest import assert_one_line_error

LAUNCH = (
    *(
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--main_process_port",
        "0",
    ),
    *("--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"),
    *("--dynamo_backend", "no"),
)
THREADS_LEFT = """
import os, sys
import torch
from hitools.core.processes import accelerated

def native_threads():
    tasks = "/proc/self/task"
    return {open(f"{tasks}/{one}/comm").read().strip() for one in os.listdir(tasks)}

with accelerated() as accelerator:
    weight = torch.ones(3, requires_grad=True)
    optimiser = torch.optim.AdamW([weight])  # imports more of torch, as a training does
    (weight * 2).sum().backward()
    total = accelerator.reduce(weight.grad, "sum")
    optimiser.step()
    within = native_threads()
has_threads = ["pt_gloo_runloop" in found for found in (within, native_threads())]
open(f"{sys.argv[1]}/{accelerator.process_index}", "w").write(f"{total.tolist()} {has_threads}")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_no_thread_of_the_group_outlives_it(tmp_path):
    (tmp_path / "program.py").write_text(THREADS_LEFT)
    command = [*LAUNCH, "program.py", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=300, check=False)
    assert result.returncode == 0, result.stderr.decode()
    for process in "01":  # threads while they are together, none afterwards
        assert (tmp_path / process).read_text() == "[4.0, 4.0, 4.0] [True, False]"


FAILS_ALONE = """
import sys, time
import torch
from hitools.cmd.launching import process_of_many
from hitools.core.errors import InputError
from hitools.core.processes import accelerated

def forever(*arguments, **more):
    while True:
        time.sleep(1)

def main():
    with process_of_many(), accelerated() as accelerator:
        torch.distributed.destroy_process_group = forever  # as on GPUs, where all have to leave
        if accelerator.process_index == int(sys.argv[1]):
            raise InputError("an event does not fit")
        forever()  # as on GPUs, where nothing wakes those that wait for another

main()
"""


@pytest.mark.parametrize("process", ["0", "1"])
def test_a_process_that_fails_alone_says_so_and_ends_all(tmp_path, process):
    (tmp_path / "program.py").write_text(FAILS_ALONE)
    command = [*LAUNCH, "program.py", process]
    result = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=120, check=False)
    assert result.returncode != 0
    assert result.stderr.decode().count("program.py: an event does not fit\n") == 1


FAILS_TOGETHER = """
from hitools.cmd.launching import process_of_many
from hitools.core.processes import accelerated

with process_of_many(), accelerated():
    raise KeyError("odd")
"""


def test_what_nobody_foresaw_in_all_processes_is_told_once(tmp_path):
    (tmp_path / "program.py").write_text(FAILS_TOGETHER)
    command = [*LAUNCH, "program.py"]
    result = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=120, check=False)
    assert result.returncode != 0
    assert result.stderr.decode().count("program.py: KeyError: 'odd'") == 1


def test_the_launcher_of_a_command_says_nothing_more(tmp_path, run):
    """The file cannot be written, which only the first of the two processes knows."""
    arguments = ("-n", 4, "-q", "-j", 2, "-o", tmp_path / "nowhere" / "sample.h5")
    assert_one_line_error(run("hi-sample", *arguments, timeout=120), "nowhere")
