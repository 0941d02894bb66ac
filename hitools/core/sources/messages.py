"""What foreman.py and pool.py say to each other: pickled messages in frames, over pipes."""

import pickle
import struct
from dataclasses import dataclass
from typing import IO

from hitools.core.sources.generation import Block, GeneratorOptions


@dataclass(frozen=True)
class Request:
    """What the foreman is started with."""

    options: GeneratorOptions
    workers: int


@dataclass(frozen=True)
class Note:
    """A sentence for the user, before the generator is ready."""

    text: str


@dataclass(frozen=True)
class Ready:
    """The generator has started; `name` says which and which version."""

    name: str


@dataclass(frozen=True)
class Failure:
    """No more blocks: one line that says why."""

    text: str


Message = Request | Note | Ready | Failure | Block


def send(stream: IO[bytes], message: Message) -> None:
    """Write one frame."""
    forward(stream, pickle.dumps(message, pickle.HIGHEST_PROTOCOL))


def forward(stream: IO[bytes], payload: bytes) -> None:
    """Write one frame whose message is pickled already."""
    stream.write(struct.pack("<Q", len(payload)) + payload)
    stream.flush()


def receive(stream: IO[bytes]) -> Message | None:
    """Read one frame; None where the stream has ended."""
    header = stream.read(8)
    if len(header) < 8:
        return None
    (length,) = struct.unpack("<Q", header)
    payload = stream.read(length)
    return pickle.loads(payload) if len(payload) == length else None
