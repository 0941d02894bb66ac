"""Event files: what is written is read, by us and by plain h5py, and damage is found."""

import json
import re
import resource
import subprocess
import sys
import zlib
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import pytest

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.features import EVENT_COLUMNS
from hitools.core.format import chunks
from hitools.core.format.images import Image
from hitools.core.format.jetsource import JetSource
from hitools.core.format.layout import Storage
from hitools.core.format.meta import EventMeta, Selection
from hitools.core.format.provenance import make_step
from hitools.core.format.reader import open_events
from hitools.core.format.writer import open_writer
from tests.conftest import read_all

META = EventMeta("O-O", 5360.0, Selection())
STEP = make_step((), "hi-mc", "0.1.0", "hi-mc O-O", 1, "2026-01-01T00:00:00Z")


def write(path: Path, batch: EventBatch, storage: Storage | None = None) -> Path:
    with open_writer(path, META, storage) as out:
        for start in range(0, len(batch), 7):
            out.write(batch[start : start + 7])
    return path


def assert_same(a: EventBatch, b: EventBatch) -> None:
    np.testing.assert_array_equal(a.events, b.events)
    np.testing.assert_array_equal(a.particles, b.particles)
    np.testing.assert_array_equal(a.offsets, b.offsets)
    np.testing.assert_array_equal(a.weights_or_ones, b.weights_or_ones)


@pytest.mark.parametrize(
    "storage",
    [
        Storage(),
        Storage(gzip=0),
        Storage(gzip=0, checksum=False),
        Storage(gzip=9, slots=7),
        Storage(gzip=1, checksum=False, slots=4096),
    ],
)
def test_events_come_back_bit_for_bit_whatever_the_storage(tmp_path, oo, storage):
    assert_same(read_all(write(tmp_path / "a.h5", oo, storage)), oo)


def test_plain_h5py_sees_the_padded_arrays_of_the_paper(tmp_path, oo):
    path = write(tmp_path / "a.h5", oo)
    with h5py.File(path) as file:
        events, particles = file["events"][:], file["particles"][:]
    assert events.shape == (len(oo), 11)
    assert particles.shape == (len(oo), oo.n_particles.max(), 6)
    for k in range(len(oo)):
        n = oo.n_particles[k]
        np.testing.assert_array_equal(
            particles[k, :n], oo.particles[oo.offsets[k] : oo.offsets[k + 1]]
        )
        assert not particles[k, n:].any()


def test_events_of_0_1_and_20000_particles_and_weights_are_kept(tmp_path):
    rng = np.random.default_rng(0)
    counts = np.array([0, 1, 20_000, 3, 0])
    pt, eta, phi = rng.uniform(0.1, 3, (3, counts.sum()))
    batch = EventBatch.from_particles(
        pt, eta, phi, counts, *np.ones((3, 5)), weights=np.arange(5) + 0.5
    )
    assert_same(read_all(write(tmp_path / "a.h5", batch)), batch)


def test_weights_that_begin_late_are_1_before(tmp_path, oo):
    late = EventBatch(oo[5:].events, oo[5:].particles, oo[5:].offsets, np.full(115, 2, np.float32))
    with open_writer(tmp_path / "a.h5", META) as out:
        out.write(oo[:5])
        out.write(late)
    weights = read_all(tmp_path / "a.h5").weights
    np.testing.assert_array_equal(weights, [1] * 5 + [2] * 115)


def test_chunks_that_the_library_left_uncompressed_are_read(tmp_path):
    """HDF5 may skip filters chunk by chunk: bit k of a chunk's mask is the k-th filter."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, (256, 6), dtype=np.uint32).view(np.float32)
    bits[~np.isfinite(bits)] = 1
    bits[:, 3] = np.abs(bits[:, 3])  # a negative pT is refused
    events = np.zeros((1, 11), np.float32)
    events[0, -1] = 256
    batch = EventBatch(events, bits, np.array([0, 256]))
    path = write(tmp_path / "a.h5", batch)
    with h5py.File(path, "a") as file:
        file["particles"].id.write_direct_chunk((0, 0, 0), bits.tobytes(), filter_mask=0b111)
    assert_same(read_all(path), batch)


def test_filters_in_another_order_than_ours_are_left_to_the_library(tmp_path, oo):
    path = write(tmp_path / "a.h5", oo, Storage(gzip=0, checksum=False))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_fletcher32()
    properties.set_shuffle()
    properties.set_deflate(1)
    with h5py.File(path, "a") as file:
        padded = file["particles"][:]
        del file["particles"]
        properties.set_chunk((1, 64, 6))
        space = h5py.h5s.create_simple(padded.shape)
        h5py.h5d.create(file.id, b"particles", h5py.h5t.IEEE_F32LE, space, properties).write(
            h5py.h5s.ALL, h5py.h5s.ALL, padded
        )
    assert_same(read_all(path), oo)


@pytest.mark.parametrize("gzip", [0, 1, 9])
@pytest.mark.parametrize("pattern", ["zeros", "all bits", "one bit", "random"])
def test_the_library_accepts_our_checksums_and_finds_our_bytes(tmp_path, gzip, pattern):
    """Sums of Fletcher-32 that are 0, and multiples of 65535 that are not, included."""
    bits = {
        "zeros": np.zeros((70, 6), np.uint32),
        "all bits": np.full((70, 6), 2**32 - 1, np.uint32),
        "one bit": np.eye(70, 6, dtype=np.uint32),
        "random": np.random.default_rng(3).integers(0, 2**32, (70, 6), dtype=np.uint32),
    }[pattern]
    filters = {"compression": "gzip", "compression_opts": gzip, "shuffle": True} if gzip else {}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset(
            "particles", (2, 50, 6), "<f4", chunks=(1, 16, 6), fletcher32=True, **filters
        )
        counts = np.array([50, 20])
        chunks.write(dataset, 0, bits.view("<f4"), counts, gzip=gzip, checksum=True)
    with h5py.File(tmp_path / "a.h5") as file:
        padded = file["particles"][:].view(np.uint32)
    np.testing.assert_array_equal(padded[0], bits[:50])
    np.testing.assert_array_equal(padded[1, :20], bits[50:])
    assert not padded[1, 20:].any()


def test_looking_for_one_event_and_then_for_others_finds_them_all(tmp_path, oo):
    path = write(tmp_path / "a.h5", oo)
    with open_events(path) as events:
        rows = events.rows()
        for event in (2, 5, 119, 0, 60):
            assert_same(rows.read(np.array([event])), oo[event : event + 1])


def test_a_missing_chunk_of_particles_is_damage_not_zeros(tmp_path, oo):
    path = tmp_path / "a.h5"
    write(path, oo)
    with h5py.File(path, "a") as file:
        slots, n_max = file["particles"].chunks[1], file["particles"].shape[1]
        shorter = n_max - (n_max % slots or slots)
        file["particles"].resize(shorter, axis=1)  # frees the last chunks
        file["particles"].resize(n_max, axis=1)
    with pytest.raises(InputError, match=r"a\.h5: events .* a chunk of particles is missing"):
        read_all(path)


def test_what_lies_wholly_in_the_padding_is_not_stored(tmp_path, oo):
    """A chunk per started 128 particles of an event, though Nmax is several times the mean."""
    with h5py.File(write(tmp_path / "a.h5", oo)) as file:
        particles = file["particles"]
        slots = particles.chunks[1]
        assert particles.chunks == (1, slots, 6)
        assert particles.id.get_num_chunks() == np.ceil(oo.n_particles / slots).sum()
        assert particles.shape[1] > 3 * oo.n_particles.mean()


def test_a_file_is_hardly_larger_than_the_gzip_of_its_real_rows(tmp_path, oo):
    many = EventBatch.concatenate([oo] * 10)
    path = write(tmp_path / "a.h5", many)
    gzipped = len(zlib.compress(oo.particles.tobytes(), 1)) * 10
    assert path.stat().st_size < 1.1 * gzipped


def test_reading_opens_no_more_of_the_library_than_once_for_all_chunks(tmp_path, oo, monkeypatch):
    """A call of HDF5 for every chunk would cost more than unpacking it."""
    path = write(tmp_path / "a.h5", oo)
    with open_events(path) as events:
        for name in ("__getitem__", "read_direct"):
            whole = getattr(h5py.Dataset, name)

            def guarded(self, *args, whole=whole, **kwargs):
                assert self.name != "/particles"
                return whole(self, *args, **kwargs)

            monkeypatch.setattr(h5py.Dataset, name, guarded)
        assert_same(EventBatch.concatenate(list(events)), oo)


def test_particles_are_read_from_their_own_chunks_alone(tmp_path, oo):
    """Every other chunk of the file is overwritten; reading one event does not notice."""
    path = write(tmp_path / "a.h5", oo)
    with h5py.File(path) as file:
        chunks = []
        file["particles"].id.chunk_iter(chunks.append)
    data = bytearray(path.read_bytes())
    for chunk in chunks:
        if chunk.chunk_offset[0] != 60:
            data[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(data)
    with open_events(path) as events:
        assert_same(events.rows().read(np.array([60])), oo[60:61])


def test_reading_keeps_to_the_particle_budget(tmp_path, oo):
    path = write(tmp_path / "a.h5", oo)
    with open_events(path, max_particles=1000) as events:
        batches = list(events)
    assert all(len(b.particles) <= 1000 or len(b) == 1 for b in batches)
    assert len(batches) > 10
    assert_same(EventBatch.concatenate(batches), oo)


def test_single_events_are_fetched_in_any_order(tmp_path, oo):
    path = write(tmp_path / "a.h5", oo)
    rows = np.array([80, 3, 4, 5, 3, 119, 0])
    with open_events(path) as events:
        assert_same(events.rows().read(rows), oo.take(rows))


def test_root_attributes_are_those_of_the_format_page(tmp_path, oo):
    with h5py.File(write(tmp_path / "a.h5", oo)) as file:
        attributes = dict(file.attrs)
    assert attributes["format"] == "hitools-events"
    assert bool(attributes["complete"])
    assert list(attributes["event_columns"]) == list(EVENT_COLUMNS)
    assert attributes["system"] == "O-O"
    assert attributes["sqrt_s_nn_gev"] == 5360


# Nothing half-written ----------------------------------------------------------------------


def test_an_exception_leaves_neither_a_file_nor_a_part_of_one(tmp_path, oo):
    (tmp_path / "a.h5").write_bytes(b"precious")

    def write_and_fail() -> None:
        with open_writer(tmp_path / "a.h5", META) as out:
            out.write(oo)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]
    assert (tmp_path / "a.h5").read_bytes() == b"precious"


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, oo_path):
    """A limit on file size stands in for the disk: the same failing write(2) in the library."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    result = subprocess.run(
        [Path(sys.executable).parent / "hi-cat", oo_path, "-o", "full.h5"],
        cwd=tmp_path,
        preexec_fn=limit,
        capture_output=True,
        check=False,
    )
    message = result.stderr.decode()
    assert result.returncode == 2, message
    assert "full.h5" in message
    assert message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_whose_writer_was_killed_is_refused(tmp_path, oo):
    path = write(tmp_path / "a.h5", oo)
    with h5py.File(path, "a") as file:
        del file.attrs["complete"]
    with pytest.raises(InputError, match="not complete"):
        open_events(path)


# Damage ------------------------------------------------------------------------------------


def damaged(path: Path, where: float) -> Path:
    data = bytearray(path.read_bytes())
    data[int(len(data) * where)] ^= 0x10
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("storage", [Storage(), Storage(gzip=0)])
@pytest.mark.parametrize("where", [0.3, 0.5, 0.7, 0.9])
def test_a_flipped_bit_is_never_read_silently(tmp_path, oo, storage, where):
    path = damaged(write(tmp_path / "a.h5", oo, storage), where)
    with pytest.raises(InputError, match=r"a\.h5"):
        read_all(path)


@pytest.mark.parametrize("block", [b"OHDR", b"FRHP", b"BTLF"])
def test_a_flipped_bit_in_the_root_attributes_is_a_sentence(tmp_path, oo, block):
    """The header of the root group, and heap and index of its many attributes."""
    path = write(tmp_path / "a.h5", oo)
    data = bytearray(path.read_bytes())
    for found in re.finditer(block, bytes(data)):
        data[found.start() + 6] ^= 1
    path.write_bytes(data)
    for opened in (open_events, JetSource):
        with pytest.raises(InputError, match=r"a\.h5: (damaged|HDF5 cannot open it)"):
            opened(path)


ODD = {
    "array": np.arange(3),
    "texts": ["a", "b"],
    "bytes": np.bytes_(b"\xff"),
    "nothing": h5py.Empty("f4"),
    "negative": -1.0,
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize(
    "name",
    [
        *("format", "format_version", "system", "sqrt_s_nn_gev", "selection", "event_vectors"),
        *("provenance", "continues"),
    ],
)
def test_an_attribute_of_another_kind_is_refused_by_name(tmp_path, oo_path, name, kind):
    path = tmp_path / "a.h5"
    path.write_bytes(oo_path.read_bytes())
    with h5py.File(path, "a") as file:
        file.attrs[name] = ODD[kind]
    for opened in (open_events, JetSource):
        with pytest.raises(InputError, match=f"a\\.h5.*{name}"):
            opened(path)


@pytest.mark.parametrize(
    "change",
    [
        {"eta_max": None},
        {"eta_max": "2.5"},
        {"eta_max": True},
        {"eta_max": 0},
        {"eta_max": np.nan},
        {"pt_min": [1]},
        {"pt_min": -0.1},
        {"charged": "yes"},
    ],
)
def test_a_selection_that_cannot_be_is_refused(tmp_path, oo_path, change):
    path = tmp_path / "a.h5"
    path.write_bytes(oo_path.read_bytes())
    with h5py.File(path, "a") as file:
        stored = json.loads(file.attrs["selection"])
        file.attrs["selection"] = json.dumps(stored | change)
    with pytest.raises(InputError, match=r"a\.h5: attribute selection"):
        open_events(path)


@pytest.mark.parametrize("change", [{"id": [1]}, {"parent": [[1]]}, {"command": 5}, {"seed": "x"}])
def test_a_provenance_of_other_kinds_is_refused(tmp_path, oo_path, change):
    path = tmp_path / "a.h5"
    path.write_bytes(oo_path.read_bytes())
    with h5py.File(path, "a") as file:
        file.attrs["provenance"] = json.dumps([asdict(STEP) | change])
    with pytest.raises(InputError, match=r"a\.h5: attribute provenance is not a list of steps"):
        open_events(path)


def test_a_truncated_file_is_refused_with_its_size(tmp_path, oo):
    path = write(tmp_path / "a.h5", oo)
    data = path.read_bytes()
    path.write_bytes(data[:100_000])
    with pytest.raises(InputError, match=f"truncated: 100000 bytes of {len(data)}"):
        open_events(path)


def test_an_address_past_the_end_of_a_file_is_an_error_not_memory(oo_path):
    """A damaged index may claim a chunk of any size, anywhere."""
    with oo_path.open("rb") as raw, Image(raw, "oo") as image:
        assert image.bytes_at(0, 4) == b"\x89HDF"
        for address, size in ((0, 1 << 50), (1 << 40, 10)):
            with pytest.raises(ValueError, match="past its end"):
                image.bytes_at(address, size)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"HepMC::Version 3.02.06\n" * 10, "not an HDF5"),
        (b"\x89HDF\r\n\x1a\n\x09" + bytes(100), "superblock version 9"),
    ],
)
def test_something_else_is_refused_by_name(tmp_path, content, words):
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as error:
        open_events(path)
    assert str(path) in str(error.value)


def test_links_that_would_show_other_files_are_refused(tmp_path, oo):
    secret = write(tmp_path / "secret.h5", oo)
    for kind in ("external", "soft", "virtual"):
        path = tmp_path / f"{kind}.h5"
        with h5py.File(path, "w", libver="v110") as file:
            with h5py.File(secret) as source:
                source.copy("events", file)
            if kind == "external":
                file["particles"] = h5py.ExternalLink(str(secret), "/particles")
            elif kind == "soft":
                file["particles"] = h5py.SoftLink("/events")
            else:
                with h5py.File(secret) as source:
                    layout = h5py.VirtualLayout(source["particles"].shape, np.float32)
                    layout[:] = h5py.VirtualSource(source["particles"])
                file.create_virtual_dataset("particles", layout)
        with pytest.raises(InputError, match="plain dataset"):
            read_all(path)


# Files of others ---------------------------------------------------------------------------


def foreign(path: Path, batch: EventBatch, **settings: object) -> Path:
    """As another group's script writes it: padded arrays, no attributes."""
    slots = int(batch.n_particles.max()) + 3
    padded = np.zeros((len(batch), slots, 6), np.float32)
    padded[np.arange(slots) < batch.n_particles[:, None]] = batch.particles
    with h5py.File(path, "w") as file:
        file.create_dataset("events", data=batch.events)
        file.create_dataset("particles", data=padded, **settings)
    return path


@pytest.mark.parametrize(
    "settings", [{}, {"compression": "gzip", "shuffle": True}, {"chunks": (50, 64, 2)}]
)
def test_a_file_without_attributes_is_read_with_a_warning(tmp_path, oo, caplog, settings):
    path = foreign(tmp_path / "theirs.h5", oo, **settings)
    assert_same(read_all(path), oo)
    assert "no hitools attributes; assumed: columns mean_pt" in caplog.text


def test_a_file_in_double_precision_is_accepted(tmp_path, oo):
    path = foreign(tmp_path / "theirs.h5", oo)
    with h5py.File(path, "a") as file:
        wide = file["events"][:].astype(np.float64)
        del file["events"]
        file["events"] = wide
    assert_same(read_all(path), oo)


@pytest.mark.parametrize(
    ("column", "change"),
    [("sum_pt", 1.01), ("q_x", 1.05), ("psi_2", 1.5), ("mean_eta", 1.1), ("mean_phi", 1.3)],
)
def test_derived_columns_that_do_not_follow_are_refused_naming_event_and_column(
    tmp_path, oo, column, change
):
    wrong = oo.events.copy()
    wrong[17, EVENT_COLUMNS.index(column)] *= change
    path = foreign(tmp_path / "theirs.h5", EventBatch(wrong, oo.particles, oo.offsets))
    with pytest.raises(InputError, match=f"event 17: {column} is"):
        read_all(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_naming_the_event(tmp_path, oo, value):
    particles = oo.particles.copy()
    particles[oo.offsets[9] + 2, 4] = value
    path = foreign(tmp_path / "theirs.h5", EventBatch(oo.events, particles, oo.offsets))
    with pytest.raises(InputError, match="event 9: a particle's values are not finite"):
        read_all(path)


@pytest.mark.parametrize("claimed", [-1, 3.5, 5000])
def test_an_impossible_number_of_particles_is_refused(tmp_path, oo, claimed):
    path = foreign(tmp_path / "theirs.h5", oo)
    with h5py.File(path, "a") as file:
        file["events"][4, 10] = claimed
    with pytest.raises(InputError, match="event 4: n_particles is"):
        read_all(path)


@pytest.mark.parametrize(
    ("name", "shape"), [("events", (5, 10)), ("particles", (5, 6)), ("particles", (4, 9, 6))]
)
def test_datasets_of_the_wrong_shape_are_refused(tmp_path, name, shape):
    shapes = {"events": (5, 11), "particles": (5, 9, 6)} | {name: shape}
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        for key, value in shapes.items():
            file[key] = np.zeros(value, np.float32)
    with pytest.raises(InputError, match=f"{name}.*(expected|rows)"):
        open_events(tmp_path / "theirs.h5")
