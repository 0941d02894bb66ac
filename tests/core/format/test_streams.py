"""Streams: concatenations of images that notice everything that can go wrong on the way."""

import io
from pathlib import Path

import h5py
import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.format.images import image_length
from hitools.core.format.layout import ON_A_PIPE
from hitools.core.format.meta import EventMeta
from hitools.core.format.reader import open_events
from hitools.core.format.writer import EVENTS
from hitools.core.format.writing import StreamWriter
from tests.conftest import read_all


def stream_of(batch: EventBatch, pieces: int = 13) -> bytes:
    out = io.BytesIO()
    with StreamWriter(out, EVENTS, EventMeta("O-O", 5360.0), ON_A_PIPE) as writer:
        for start in range(0, len(batch), pieces):
            writer.write(batch[start : start + pieces])
    return out.getvalue()


def images_of(stream: bytes) -> list[bytes]:
    images = []
    while stream:
        end = image_length(stream[:56], "stream")
        images.append(stream[:end])
        stream = stream[end:]
    return images


def read_bytes(tmp_path: Path, data: bytes) -> EventBatch:
    path = tmp_path / "stream.h5s"
    path.write_bytes(data)
    return read_all(path)


def test_a_stream_is_images_that_h5py_opens_one_by_one(oo):
    images = images_of(stream_of(oo))
    sizes = []
    for k, image in enumerate(images):
        with h5py.File(io.BytesIO(image)) as file:
            assert file.attrs["continues"] == k
            assert file.attrs["format"] == "hitools-events"
            sizes.append(len(file["events"]))
    # The first event leaves at once, and images grow.
    assert sizes == [1, 2, 4, 8, 16, 32, 57, 0]


def test_the_bytes_of_a_stream_do_not_depend_on_how_its_events_arrived(oo):
    assert stream_of(oo, pieces=1) == stream_of(oo, pieces=120) == stream_of(oo, pieces=11)


def test_streams_and_files_concatenate_in_any_order(tmp_path, oo, oo_path):
    stream, file = stream_of(oo), oo_path.read_bytes()
    for order in ([stream, file], [file, stream], [stream, stream], [file, file]):
        both = read_bytes(tmp_path, b"".join(order))
        np.testing.assert_array_equal(both.particles, np.concatenate([oo.particles, oo.particles]))


def test_large_images_wait_on_disk_and_are_read_the_same(tmp_path, oo, oo_path, monkeypatch):
    monkeypatch.setattr("hitools.core.format.images._SPOOL_BYTES", 1000)
    both = read_bytes(tmp_path, stream_of(oo) + oo_path.read_bytes())
    np.testing.assert_array_equal(both.particles, np.concatenate([oo.particles, oo.particles]))


def test_a_stream_without_events_is_no_error(tmp_path, oo):
    assert len(read_bytes(tmp_path, stream_of(oo[:0]))) == 0


@pytest.mark.parametrize("drop", range(8))
def test_a_stream_with_any_image_missing_is_an_error(tmp_path, oo, drop):
    images = images_of(stream_of(oo))
    del images[drop]
    with pytest.raises(InputError, match=r"end marker|piece"):
        read_bytes(tmp_path, b"".join(images))


def test_a_stream_cut_at_any_byte_is_an_error(tmp_path, oo):
    stream = stream_of(oo[:40])
    ends = np.cumsum([len(image) for image in images_of(stream)])
    for cut in sorted({1, 55, 56, *np.linspace(100, len(stream) - 1, 25, dtype=int), *ends[:-1]}):
        with pytest.raises(InputError):
            read_bytes(tmp_path, stream[:cut])


def test_a_stream_that_ends_early_says_how_many_events_arrived(tmp_path, oo):
    images = images_of(stream_of(oo))
    with pytest.raises(InputError, match="after 15 events in 4 images"):
        read_bytes(tmp_path, b"".join(images[:4]))


def test_a_stream_whose_writer_died_before_another_one_is_an_error(tmp_path, oo, oo_path):
    images = images_of(stream_of(oo))
    with pytest.raises(InputError, match="piece 3 of the stream expected, piece 0 found"):
        read_bytes(tmp_path, b"".join(images[:3]) + stream_of(oo))
    with pytest.raises(InputError, match="without its end marker"):
        read_bytes(tmp_path, b"".join(images[:3]) + oo_path.read_bytes())


def test_a_flipped_bit_anywhere_in_a_stream_is_an_error(tmp_path, oo):
    stream = stream_of(oo)
    rng = np.random.default_rng(3)
    for place in rng.integers(0, len(stream), 40):
        broken = bytearray(stream)
        broken[place] ^= 1 << int(rng.integers(8))
        with pytest.raises(InputError):
            read_bytes(tmp_path, bytes(broken))


def test_garbage_after_a_file_is_an_error(tmp_path, oo_path):
    with pytest.raises(InputError, match="after 120 events in 1 images"):
        read_bytes(tmp_path, oo_path.read_bytes() + b"x" * 100)


@pytest.mark.parametrize("libver", ["earliest", "v110", "latest"])
def test_the_length_of_an_image_is_found_for_every_superblock(libver):
    image = io.BytesIO()
    with h5py.File(image, "w", libver=libver) as file:
        file["x"] = np.arange(1000)
    data = image.getvalue()
    assert image_length(data[:56], "image") == len(data)


def test_provenance_of_two_streams_is_united(tmp_path, pipe, oo_path):
    result = pipe(
        f"cat <(hi-cat --head 3 {oo_path}) <(hi-cat --head 4 {oo_path}) | hi-cat -o both.h5"
    )
    assert result.returncode == 0, result.stderr
    with open_events(tmp_path / "both.h5") as events:
        first, second, last = events.meta.provenance
        assert last.parent == (first.id, second.id)
        assert "--head 3" in first.command
