"""Angantyr: the particles and the geometry are Pythia's own, at little cost, in every block."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hitools.core.errors import InputError
from hitools.core.sources import angantyr
from hitools.core.sources.angantyr import read_card
from hitools.core.sources.generation import BlockBuilder, GeneratorOptions, Setting
from hitools.core.sources.nuclei import parse_system
from hitools.core.sources.pool import Production
from tests.core.sources.making import made

BY_HAND = Path(__file__).with_name("angantyr_by_hand.py")


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """What the script says: the same events as a block and particle by particle."""
    path = tmp_path_factory.mktemp("angantyr") / "events.pkl"
    root = str(Path(__file__).parents[3])
    subprocess.run(
        [sys.executable, BY_HAND, path],
        check=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
    )
    return pickle.loads(path.read_bytes())


def test_a_block_holds_the_particles_that_pythia_has_one_by_one(by_hand):
    batch = by_hand["blocks"][0][0].batch
    pt, eta, phi = by_hand["hand"]["particles"].T
    seen = by_hand["hand"]["events"][:, 0]
    assert batch.n_particles.tolist() == seen[seen > 0].tolist()
    np.testing.assert_allclose(batch.particle("pt"), pt, rtol=1e-6)
    np.testing.assert_allclose(batch.particle("eta"), eta, atol=1e-6)
    np.testing.assert_allclose(np.sin(batch.particle("phi") - phi), 0, atol=1e-6)


def test_each_event_has_its_own_geometry(by_hand):
    """Pythia hands particles out in batches, and knows the geometry of the last event only."""
    block = by_hand["blocks"][0][0]
    seen, b, n_coll, n_part = by_hand["hand"]["events"][by_hand["hand"]["events"][:, 0] > 0].T
    np.testing.assert_allclose(block.batch.event("b"), b, rtol=1e-6)
    assert block.batch.event("n_coll").tolist() == n_coll.tolist()
    assert block.batch.event("n_part").tolist() == n_part.tolist()
    assert np.corrcoef(seen, n_coll)[0, 1] > 0.8
    assert n_part.max() <= 32


def test_events_without_particles_keep_their_place(by_hand):
    block = by_hand["blocks"][0][0]
    (expected,) = np.nonzero(by_hand["hand"]["events"][:, 0])
    assert block.position.tolist() == expected.tolist()
    assert block.n_generated == len(by_hand["hand"]["events"])
    assert len(block.batch) < block.n_generated


def test_a_block_can_be_made_again(by_hand):
    first, second, _ = (block.batch for block, _ in by_hand["blocks"])
    assert (first.particles == second.particles).all()
    assert (first.events == second.events).all()


def test_particles_are_taken_out_at_a_tenth_of_the_event_loop_or_less(by_hand):
    """Processor time around Pythia's loop over that in it; the best of three, as others work."""
    assert min(cost for _, cost in by_hand["blocks"]) < 0.10


def test_no_two_random_streams_are_the_same(by_hand):
    """Each Pythia inside Angantyr has its own numbers; left alone, they would all repeat."""
    numbers = np.array(by_hand["numbers"])
    assert numbers.shape == (4, 7)
    assert len(np.unique(numbers)) == numbers.size


def test_even_sampling_gives_the_impact_parameters_of_weighted_sampling():
    """p-p, where b is Pythia's own business: the weighted mean is the mean of unit weights."""
    even = made(1500, system="p-p")
    weighted = made(1500, system="p-p", weighted=True)
    assert even.weights is None
    w = weighted.weights.astype(float)
    assert w.max() / w.min() > 1.5
    b = weighted.event("b")
    expected = np.average(b, weights=w)
    error = np.sqrt((w**2 * (b - expected) ** 2).sum()) / w.sum()
    error = np.hypot(error, even.event("b").std() / np.sqrt(len(even)))
    assert abs(even.event("b").mean() - expected) < 4 * error


def test_a_proton_pair_collides_once():
    events = made(100, system="p-p")
    assert set(events.event("n_coll")) == {1}
    assert set(events.event("n_part")) == {2}


def test_selection_keeps_what_it_says():
    wide = made(60, system="p-p", eta_max=5.0)
    narrow = made(60, system="p-p", eta_max=1.0, pt_min=0.3)
    everything = made(60, system="p-p", eta_max=5.0, charged=False)
    assert np.abs(wide.particle("eta")).max() > 4
    assert np.abs(narrow.particle("eta")).max() < 1
    assert narrow.particle("pt").min() > 0.3
    assert 1.3 < len(everything.particles) / len(wide.particles) < 2.2  # photons of pi0 decays


def test_charges_follow_pythia_and_the_ids_of_nuclei():
    """2112 n, 2212 p, 22 photon, 211 pi+, 3122 Lambda, 12 neutrino; remnants are 10LZZZAAAI."""

    class FewParticles:
        charges = {1: -1, 12: 0, 22: 0, 211: 3, 2112: 0, 2212: 3, 3122: 0}  # noqa: RUF012

        def nextId(self, after: int) -> int:  # noqa: N802
            return min((i for i in self.charges if i > after), default=0)

        def chargeType(self, pdg: int) -> int:  # noqa: N802
            return self.charges[pdg]

    table = angantyr._ChargeTable(FewParticles())
    ids = np.array([211, -211, 22, 2112, -2212, 3122, 12, 1000070150, 1000000020, 1000822070])
    charged = [True, True, False, False, True, False, False, True, False, True]
    assert table(ids).tolist() == charged


def test_particles_at_the_edges_of_the_selection():
    """Along the beam, exactly at the eta limit after rounding, and exactly at the pT limit."""
    options = GeneratorOptions("angantyr", parse_system("O-O"), 5360.0)
    builder = BlockBuilder(options.selection)
    at_limit = np.sinh(2.5)
    momenta = np.array([[0, 0, 100], [0, 0, 0], [1, 0, at_limit], [1, 0, 6.0], [0, 1, -6.0]], float)
    assert builder.central(*momenta.T).tolist()[3:] == [True, True]
    builder.add(momenta, np.array([5, 0]), np.array([[1.0, 2, 3, 1], [9.0, 1, 2, 1]]))
    block = builder.finish(weighted=False)
    assert block.batch.n_particles.tolist() == [2]
    assert block.position.tolist() == [0]
    assert block.n_generated == 2


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("Foo:bar = 3", "input string not found"),
        ("Tune:pp = abc", "value not meaningful"),
        ("Beams:eCM = 200", "Beams:eCM belongs to --sqrt-s-nn"),
        ("beams:ida = 2212", "Beams:idA belongs to --system"),
        ("Random:seed = 5", "Random:seed belongs to --seed"),
    ],
)
def test_a_setting_that_cannot_be_is_named(setting, words):
    settings = (Setting("HeavyIon:bWidth = 3", "a.cmnd:1"), Setting(setting, "a.cmnd:7"))
    options = GeneratorOptions("angantyr", parse_system("O-O"), 5360.0, settings=settings)
    with pytest.raises(InputError, match=words) as error:
        Production(options, 1)
    assert "a.cmnd:7" in str(error.value)


def test_a_nucleus_that_pythia_lacks_is_named():
    options = GeneratorOptions("angantyr", parse_system("U-U"), 5360.0)
    with pytest.raises(InputError, match="does not know U"):
        Production(options, 1)


def test_settings_reach_pythia():
    central = made(50, system="p-p", settings=(Setting("HeavyIon:bWidth = 0.4", "--set"),))
    assert 0.3 < central.event("b").max() < 0.4


def test_unequal_weights_are_refused_where_none_were_asked_for():
    options = GeneratorOptions(
        "angantyr",
        parse_system("p-p"),
        5360.0,
        settings=(Setting("HeavyIon:forceUnitWeight = off", "--set"),),
    )
    with (
        pytest.raises(InputError, match="unequal weight"),
        Production(options, 1) as production,
    ):
        list(production)


def test_a_card_is_read_line_by_line(tmp_path):
    card = tmp_path / "shell.cmnd"
    card.write_text(
        "! oxygen\n\n  Angantyr:NucleusModelA = 3 ! shell model\n# no setting\n"
        "HeavyIon:SigFitErr = {0.02, 0.02,\n 0.1}\nTune:pp = 14\n"
    )
    assert [(s.text, s.where.rpartition(":")[2]) for s in read_card(str(card))] == [
        ("Angantyr:NucleusModelA = 3", "3"),
        ("HeavyIon:SigFitErr = {0.02, 0.02, 0.1}", "6"),
        ("Tune:pp = 14", "7"),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"\xff\xfe\x00", "not a text file"), (b"A:b = {1,\n2\n", "brace")],
)
def test_a_card_that_cannot_be_read_is_named(tmp_path, content, words):
    card = tmp_path / "card.cmnd"
    if content is not None:
        card.write_bytes(content)
    with pytest.raises(InputError, match=f"card.cmnd.*{words}"):
        read_card(str(card))
