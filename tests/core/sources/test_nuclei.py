"""Beams by name: ids of the Particle Data Group, radii, and what is no beam."""

import pytest

from hitools.core.errors import InputError
from hitools.core.sources.nuclei import parse_system


@pytest.mark.parametrize(
    ("name", "projectile", "target"),
    [
        ("O-O", 1000080160, 1000080160),
        ("Pb-Pb", 1000822080, 1000822080),
        ("Xe-Xe", 1000541290, 1000541290),
        ("p-Pb", 2212, 1000822080),
        ("p-p", 2212, 2212),
        ("d-Au", 1000010020, 1000791970),
        ("3He-Au", 1000020030, 1000791970),
        ("40Ca-48Ca", 1000200400, 1000200480),
        ("Ne-Ne", 1000100200, 1000100200),
        ("Ar-Ar", 1000180400, 1000180400),
        ("U-U", 1000922380, 1000922380),
    ],
)
def test_a_name_stands_for_two_pdg_ids(name, projectile, target):
    system = parse_system(name)
    assert (system.projectile.pdg, system.target.pdg) == (projectile, target)


@pytest.mark.parametrize("name", ["O-O", "p-Pb", "Pb-p", "p-p", "40Ca-48Ca"])
def test_the_name_of_a_system_is_a_system_again(name):
    system = parse_system(name)
    assert parse_system(str(system)) == system


def test_a_common_isotope_goes_by_its_element():
    assert str(parse_system("16O-129Xe")) == "O-Xe"
    assert str(parse_system("18O-132Xe")) == "18O-132Xe"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("OO", "two beams"),
        ("O-O-O", "two beams"),
        ("o-O", "'o' is no beam"),
        ("Xx-O", "'Xx' is no beam"),
        ("O-", "'' is no beam"),
        ("4O-O", "there is no 4O"),
        ("Sm-Sm", "which isotope of Sm"),
    ],
)
def test_what_is_no_system_is_told(name, words):
    with pytest.raises(InputError, match=words):
        parse_system(name)


def test_radii_are_those_of_charge_densities_within_a_few_percent():
    """Half-density radii of two-parameter Fermi fits, de Vries et al., ADNDT 36 (1987) 495."""
    measured = {"O-O": 2.608, "Cu-Cu": 4.20, "Au-Au": 6.38, "Pb-Pb": 6.62}
    for name, radius in measured.items():
        assert parse_system(name).target.radius_fm == pytest.approx(radius, rel=0.05)
    assert parse_system("p-p").target.radius_fm == 0
