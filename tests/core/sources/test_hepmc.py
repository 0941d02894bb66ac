"""HepMC text gives the particles, geometry and weights that the generator itself reports.

angantyr_oo.hepmc.gz holds six real O-O events, the last without a charged particle in |eta| < 2.5;
angantyr_oo.npz what Pythia says of them (see make_angantyr_hepmc.py beside them).
"""

import gzip
import re
from pathlib import Path

import numpy as np
import pyhepmc
import pytest

from hitools.core.batch import EventBatch
from hitools.core.errors import InputError
from hitools.core.format import faults
from hitools.core.format.faults import Fault
from tests.conftest import DATA
from tests.core.sources.reading import read

PACKED = DATA / "angantyr_oo.hepmc.gz"
TEXT = gzip.decompress(PACKED.read_bytes())
EMPTY = Fault(5, faults.EMPTY, "no particle is charged, |eta| < 2.5")


@pytest.fixture(scope="module")
def pythia() -> dict[str, np.ndarray]:
    """What Pythia says, without the event that is empty."""
    with np.load(DATA / "angantyr_oo.npz") as file:
        return {
            "pt_eta_phi": file["pt_eta_phi"],
            "n_particles": file["n_particles"][:5],
            "geometry": file["geometry"][:5],
            "weights": file["weights"][:5],
        }


def unchanged(event) -> None:
    pass


def rewritten(tmp_path: Path, change=unchanged, **how) -> Path:
    """The events written again by pyhepmc, changed on the way."""
    path = tmp_path / how.pop("name", "again.hepmc")
    with pyhepmc.open(PACKED) as events, pyhepmc.open(path, "w", **how) as out:
        for event in events:
            change(event)
            out.write(event)
    return path


def edited(tmp_path: Path, text: bytes) -> Path:
    path = tmp_path / "edited"
    path.write_bytes(text)
    return path


def sorted_particles(batch: EventBatch) -> np.ndarray:
    """(n, 4) event, pT, eta, phi; HepMC2 lists particles vertex by vertex."""
    rows = np.column_stack([batch.event_of_particle, batch.particles[:, 3:]])
    return rows[np.lexsort(rows.T[::-1])]


def test_particles_geometry_and_weights_are_those_of_pythia(pythia):
    batch, found = read(PACKED)
    np.testing.assert_array_equal(batch.n_particles, pythia["n_particles"])
    np.testing.assert_allclose(batch.particles[:, 3:], pythia["pt_eta_phi"], rtol=2e-5, atol=1e-6)
    for column, name in enumerate(("b", "n_coll", "n_part")):
        np.testing.assert_allclose(batch.event(name), pythia["geometry"][:, column], rtol=1e-6)
    np.testing.assert_allclose(batch.weights, pythia["weights"], rtol=1e-6)
    assert found == [EMPTY]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("kind", ["hepmc2", "hepmc3"])
def test_versions_2_and_3_packed_or_not_hold_the_same_events(tmp_path, kind, suffix):
    written = rewritten(tmp_path, format=kind, name=f"again{suffix}")
    path = written.rename(tmp_path / "no_telling_name")
    batch, found = read(path)
    original, _ = read(PACKED)
    np.testing.assert_array_equal(sorted_particles(batch), sorted_particles(original))
    np.testing.assert_allclose(batch.event("b"), original.event("b"), rtol=1e-6)
    np.testing.assert_array_equal(batch.weights, original.weights)
    assert found == [EMPTY]


def test_momenta_in_mev_are_converted(tmp_path):
    def to_mev(event) -> None:
        event.set_units(pyhepmc.Units.MEV, pyhepmc.Units.CM)

    path = rewritten(tmp_path, to_mev)
    assert b"U MEV CM" in path.read_bytes()
    np.testing.assert_allclose(
        read(path)[0].particles[:, 3:], read(PACKED)[0].particles[:, 3:], rtol=1e-6
    )


def test_all_keeps_every_stable_particle_inside_the_limits():
    momenta = [
        np.array([float(word) for word in line.split()[4:7]])
        for line in TEXT.decode().splitlines()
        if re.match(r"P .* 1$", line)
    ]
    px, py, pz = np.array(momenta).T
    pt, theta = np.hypot(px, py), np.arctan2(np.hypot(px, py), pz)
    inside = (np.abs(-np.log(np.tan(theta / 2))) < 1.5) & (pt > 0.2)
    batch, _ = read(PACKED, charge="all", eta_max=1.5, pt_min=0.2)
    np.testing.assert_allclose(batch.particle("pt"), pt[inside], rtol=1e-6)


def test_where_the_charge_is_known_nothing_is_assumed():
    assumed, _ = read(PACKED, charge="assumed")
    np.testing.assert_array_equal(assumed.events, read(PACKED)[0].events)


def test_weights_that_are_all_1_are_not_stored(tmp_path):
    def unweighted(event) -> None:
        event.weights = [1.0]

    assert read(rewritten(tmp_path, unweighted))[0].weights is None


# Geometry ----------------------------------------------------------------------------------


def test_an_event_without_a_heavy_ion_block_is_named(tmp_path):
    blocks = [match.span() for match in re.finditer(rb"A 0 GenHeavyIon.*\n", TEXT)]
    start, stop = blocks[3]
    path = edited(tmp_path, TEXT[:start] + TEXT[stop:])
    with pytest.raises(InputError, match=r"event 3: it has no heavy-ion block \(--no-geometry"):
        read(path)
    batch, _ = read(path, geometry=False)
    assert len(batch) == 5
    assert not batch.events[:, 5:8].any()


def with_block(tmp_path: Path, **fields) -> Path:
    def change(event) -> None:
        block = event.heavy_ion
        for name, value in fields.items():
            setattr(block, name, value)
        event.heavy_ion = block

    return rewritten(tmp_path, change)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"Ncoll": -1}, "Ncoll"),
        ({"impact_parameter": -1.0}, "impact_parameter"),
        ({"Npart_proj": -1, "Npart_targ": -1}, "Npart_proj"),
    ],
)
def test_a_field_that_the_generator_left_unset_is_named(tmp_path, fields, name):
    with pytest.raises(InputError, match=f"event 0: its heavy-ion block has no {name}"):
        read(with_block(tmp_path, **fields))


def test_participants_may_all_be_given_as_those_of_one_side(tmp_path):
    """JETSCAPE does so."""
    batch, _ = read(with_block(tmp_path, Npart_proj=7, Npart_targ=-1))
    assert (batch.event("n_part") == 7).all()


# Bad events --------------------------------------------------------------------------------


def first_final_particle(text: bytes, event: int) -> tuple[int, int, list[bytes]]:
    start = [match.start() for match in re.finditer(rb"^E ", text, re.MULTILINE)][event]
    match = re.compile(rb"P \d+ -?\d+ 211 .* 1\n").search(text, start)
    assert match
    return match.start(), match.end(), match.group().split()


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        (4, b"nan", Fault(2, faults.NOT_FINITE, "a particle's momentum is not finite")),
        (6, b"-inf", Fault(2, faults.NOT_FINITE, "a particle's momentum is not finite")),
        (
            3,
            b"1000000",
            Fault(
                2,
                faults.UNKNOWN_CHARGE,
                "PDG id 1000000 of a final-state particle has no known charge",
            ),
        ),
    ],
)
def test_a_spoilt_particle_makes_a_bad_event_and_the_others_are_kept(
    tmp_path, field, value, expected
):
    start, stop, words = first_final_particle(TEXT, 2)
    words[field] = value
    path = edited(tmp_path, TEXT[:start] + b" ".join(words) + b"\n" + TEXT[stop:])
    batch, found = read(path)
    assert found == [expected, EMPTY]
    np.testing.assert_array_equal(batch.events, read(PACKED)[0].take(np.array([0, 1, 3, 4])).events)


def test_a_negative_weight_makes_a_bad_event(tmp_path):
    def negative(event) -> None:
        event.weights = [-1.0 if event.event_number == 1 else 1.0]

    _, found = read(rewritten(tmp_path, negative))
    assert found == [Fault(1, faults.BAD_WEIGHT, "its weight is -1"), EMPTY]


def test_an_event_without_any_particle_does_not_end_the_file(tmp_path):
    second = [match.start() for match in re.finditer(rb"^E ", TEXT, re.MULTILINE)][1]
    block = re.search(rb"A 0 GenHeavyIon.*\n", TEXT)
    assert block
    nothing = b"E 99 0 0\nU GEV MM\nW 1\n" + block.group()
    batch, found = read(edited(tmp_path, TEXT[:second] + nothing + TEXT[second:]))
    assert len(batch) == 5
    assert [fault.event for fault in found] == [1, 6]


# Text that breaks off ----------------------------------------------------------------------


def test_listings_one_after_another_are_read_to_the_end(tmp_path):
    batch, found = read(edited(tmp_path, TEXT + TEXT))
    assert len(batch) == 10
    assert [fault.event for fault in found] == [5, 11]


@pytest.mark.parametrize("kind", ["hepmc2", "hepmc3"])
@pytest.mark.parametrize("place", ["inside a line", "between lines", "between events"])
def test_the_event_in_which_text_breaks_off_is_left_out_and_told(tmp_path, kind, place):
    text = rewritten(tmp_path, format=kind).read_bytes()
    third, fourth = [match.start() for match in re.finditer(rb"^E ", text, re.MULTILINE)][3:5]
    middle = text.index(b"\n", (third + fourth) // 2) + 1
    stop = {"inside a line": middle + 9, "between lines": middle, "between events": fourth}[place]
    batch, found = read(edited(tmp_path, text[:stop]))
    assert len(batch) == 3
    assert [(fault.event, fault.reason) for fault in found] == [(3, faults.CUT_OFF)]


def test_packed_text_that_breaks_off_is_told_too(tmp_path):
    data = PACKED.read_bytes()
    batch, found = read(edited(tmp_path, data[: len(data) // 2]))
    assert 0 < len(batch) < 5
    assert [fault.reason for fault in found] == [faults.CUT_OFF]


def test_text_that_cannot_be_parsed_ends_the_reading(tmp_path):
    start, stop, _ = first_final_particle(TEXT, 1)
    path = edited(tmp_path, TEXT[:start] + b"P 9 garbage\n" + TEXT[stop:])
    with pytest.raises(InputError, match="event 1: its HepMC text cannot be parsed"):
        read(path)


def test_damaged_compression_ends_the_reading(tmp_path):
    data = bytearray(PACKED.read_bytes())
    data[-6] ^= 0xFF  # the checksum
    with pytest.raises(InputError, match="cannot be read on"):
        read(edited(tmp_path, bytes(data)))


def test_a_listing_without_events_is_an_error(tmp_path):
    header = TEXT[: TEXT.index(b"\nE ") + 1]
    footer = b"HepMC::Asciiv3-END_EVENT_LISTING\n\n"
    with pytest.raises(InputError, match="no events"):
        read(edited(tmp_path, header + footer))


# Text that the reader itself would take ------------------------------------------------------


def spoilt_particle(tmp_path: Path, kind: str, field: int, value: bytes) -> Path:
    """A field of the first charged pion of event 2 replaced; fields as in the text, P is 0."""
    text = rewritten(tmp_path, format=kind).read_bytes()
    third = [match.start() for match in re.finditer(rb"^E ", text, re.MULTILINE)][2]
    match = re.compile(rb"^P (?:\d+ -?\d+|\d+) 211 .*\n", re.MULTILINE).search(text, third)
    assert match
    words = match.group().split()
    words[field] = value
    return edited(tmp_path, text[: match.start()] + b" ".join(words) + b"\n" + text[match.end() :])


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        *[("hepmc3", 4, value) for value in (b"abc", b"", b"-", b"1.5x", b"1.2.3", b"2e", b"1 2")],
        ("hepmc3", 9, b""),
        ("hepmc3", 9, b"1.0"),
        ("hepmc3", 3, b"pi"),
        ("hepmc2", 3, b"abc"),
        ("hepmc2", 8, b"x"),
        ("hepmc2", 8, b""),
    ],
)
def test_a_field_that_is_no_number_makes_a_bad_event(tmp_path, kind, field, value):
    batch, found = read(spoilt_particle(tmp_path, kind, field, value))
    assert [(fault.event, fault.reason) for fault in found] == [
        (2, faults.NO_NUMBER),
        (5, EMPTY.reason),
    ]
    assert re.fullmatch(r"line \d+ is 'P .*, expected a particle's numbers", found[0].detail)
    good, _ = read(PACKED)
    np.testing.assert_array_equal(
        sorted_particles(batch), sorted_particles(good.take(np.array([0, 1, 3, 4])))
    )


@pytest.mark.parametrize("value", [b"1.5", b"+1", b".5", b"5.", b"1E-2", b"-1.e+00"])
def test_numbers_may_be_written_in_many_ways(tmp_path, value):
    _, found = read(spoilt_particle(tmp_path, "hepmc3", 4, value))
    assert found == [EMPTY]


def in_event_2(tmp_path: Path, old: bytes, new: bytes) -> Path:
    third = [match.start() for match in re.finditer(rb"^E ", TEXT, re.MULTILINE)][2]
    start = re.compile(rb"^" + old + rb".*$", re.MULTILINE).search(TEXT, third)
    assert start
    return edited(tmp_path, TEXT[: start.start()] + new + TEXT[start.end() :])


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"U ", b"U GOV MM"), (b"A 0 GenHeavy", b"A 0 GenHeavyIon v0 x")],
)
def test_a_weight_unit_or_geometry_that_is_none_makes_a_bad_event(tmp_path, old, new):
    _, found = read(in_event_2(tmp_path, old, new), geometry=old[:1] != b"A")
    assert (found[0].event, found[0].reason) == (2, faults.NO_NUMBER)


@pytest.mark.parametrize("weight", [b"W", b"W x"])
def test_an_event_without_its_weight_cannot_be_parsed(tmp_path, weight):
    words = f"event 2: its HepMC text cannot be parsed: line [0-9]+ is '{weight.decode()}'"
    with pytest.raises(InputError, match=words):
        read(in_event_2(tmp_path, b"W ", weight))


@pytest.mark.parametrize("kind", ["hepmc2", "hepmc3"])
def test_a_listing_that_breaks_off_before_another_one_loses_its_last_event_aloud(tmp_path, kind):
    text = rewritten(tmp_path, format=kind).read_bytes()
    fourth = [match.start() for match in re.finditer(rb"^E ", text, re.MULTILINE)][3]
    batch, found = read(edited(tmp_path, text[:fourth] + text))
    assert [(fault.event, fault.reason) for fault in found] == [
        (2, faults.CUT_OFF),
        (8, faults.EMPTY),
    ]
    assert len(batch) == 7


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (b"junk\n", "something follows the end of the listing"),
        (TEXT[TEXT.index(b"\nE ") + 1 :], "an event after the end of its listing"),
        (b"HepMC::IO_GenEvent-START_EVENT_LISTING\n", "a listing of another version"),
    ],
)
def test_what_follows_a_listing_must_be_another_one(tmp_path, more, words):
    with pytest.raises(InputError, match=words):
        read(edited(tmp_path, TEXT + more))


def test_packed_text_whose_end_is_missing_is_an_error(tmp_path):
    data = gzip.compress(TEXT)
    for cut in (data[:-1], data[:-8], data + data[:12]):
        with pytest.raises(InputError, match="cannot be read on: its compressed data break off"):
            read(edited(tmp_path, cut))
