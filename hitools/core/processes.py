"""One process or many, under Accelerate: failing together, adding up, joining results in order."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from torch import Tensor

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError, OthersError
from hitools.core.memory import keep_freed_memory

T = TypeVar("T")

_PATIENCE: Final = timedelta(days=7)
"""How long processes wait for each other: one may read for hours, or write into a slow pipe."""


def in_full_precision() -> None:
    """Recurrent layers in float32 on GPUs, which by default take TF32: that errs a thousandfold.

    Matrix products are in float32 by default.
    """
    torch.backends.cudnn.allow_tf32 = False


@contextmanager
def accelerated() -> Iterator[Accelerator]:
    """This process's device and its place among the others.

    Nothing of the group that they are in is left after the block: a thread of it that outlives
    Python can end the process with SIGABRT. After an exception the group stays, as all of a group
    have to leave it together: on GPUs a process that fails alone would wait for the others
    forever. It has to be ended as it is (cmd/launching.py does).
    """
    # Its functions keep as a default the group that there is when it is first imported, forever:
    # that has to be before there is one. A torch optimiser imports it, too.
    import torch.distributed.nn

    keep_freed_memory()
    in_full_precision()
    accelerator = Accelerator(
        mixed_precision="no",  # see autocast_for: this one could not change within a process
        cpu=not torch.cuda.is_available(),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
    )
    yield accelerator
    accelerator.end_training()


def autocast_for(
    precision: str, device: torch.device
) -> Callable[[], AbstractContextManager[None]]:
    """What a pass through the network runs inside: float32 or bf16."""
    return partial(torch.autocast, device.type, torch.bfloat16, enabled=precision == "bf16")


def agreed(accelerator: Accelerator, work: Callable[[], T]) -> T:
    """Do something in every process; an InputError in one is one in all.

    Otherwise the others would wait for it forever.
    """
    error: InputError | None = None
    try:
        result = work()
    except InputError as caught:
        error = caught
    failed = torch.tensor([error is not None], device=accelerator.device).int()
    if int(accelerator.reduce(failed, "sum")):
        raise error or OthersError("another process could not go on")
    return result


def from_first(accelerator: Accelerator, work: Callable[[], T]) -> T:
    """What the first process makes, in all of them: standard input can be read only once.

    An InputError there is one in all.
    """
    made = agreed(accelerator, lambda: [work()] if accelerator.is_main_process else [])
    if accelerator.num_processes == 1:
        return made[0]
    parcel = [made]
    torch.distributed.broadcast_object_list(parcel)
    return parcel[0][0]


def same_in_all(accelerator: Accelerator, tensors: Iterable[Tensor]) -> None:
    """Overwrite the tensors of every process with those of the first."""
    if accelerator.num_processes > 1:
        for tensor in tensors:
            torch.distributed.broadcast(tensor, 0)


def in_order(
    accelerator: Accelerator, blocks: Sequence[range], make: Callable[[range], EventBatch]
) -> Generator[EventBatch, None, None]:
    """Make blocks of events in all processes and hand them to the first one in their order.

    Every process has to iterate; all but the first get nothing. When the first one closes the
    iterator before its end, the others get a BrokenPipeError.
    """
    n_processes = accelerator.num_processes
    if n_processes == 1:
        yield from map(make, blocks)
        return
    for first in range(0, len(blocks), n_processes):
        mine = blocks[first + accelerator.process_index :][:1]
        batch = agreed(accelerator, lambda: EventBatch.concatenate([make(one) for one in mine]))  # noqa: B023
        if accelerator.is_main_process:
            parts: list[EventBatch] = [batch] * n_processes
            torch.distributed.gather_object(batch, parts)
            try:
                yield from parts
            except GeneratorExit:
                with suppress(RuntimeError):  # whoever has ended need not be told
                    torch.distributed.broadcast_object_list([False])
                raise
            torch.distributed.broadcast_object_list([True])
        else:
            torch.distributed.gather_object(batch)
            go_on = [False]
            torch.distributed.broadcast_object_list(go_on)
            if not go_on[0]:
                raise BrokenPipeError("the first process has stopped")


def summed(accelerator: Accelerator, counts: Sequence[int]) -> list[int]:
    """Each count added up over the processes."""
    mine = torch.tensor(counts, device=accelerator.device)
    return [int(total) for total in accelerator.reduce(mine, "sum")]
