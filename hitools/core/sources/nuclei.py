"""Collision systems by name: "O-O", "p-Pb", "129Xe-129Xe" and what generators need of them."""

import re
from dataclasses import dataclass
from typing import Final

from hitools.core.errors import InputError

_PROTON: Final = 2212
_ELEMENTS: Final = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br"
    " Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho"
    " Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U"
)
_CHARGE: Final = {element: z for z, element in enumerate(_ELEMENTS.split(" "), start=1)}
_ISOTOPES: Final = (
    "4He 7Li 9Be 11B 12C 14N 16O 19F 20Ne 23Na 24Mg 27Al 28Si 31P 32S 35Cl 40Ar 39K 40Ca 56Fe 63Cu"
    " 84Kr 96Zr 96Ru 107Ag 129Xe 197Au 208Pb 238U"
)
_COMMON: Final = {
    name.lstrip("0123456789"): int(re.sub(r"\D", "", name)) for name in _ISOTOPES.split()
}
"""Mass numbers that a bare element stands for: what colliders run with."""


@dataclass(frozen=True)
class Beam:
    """A proton or a nucleus.

    Attributes:
        name: "p", "O", or with a mass number where that is not the common one: "48Ca".
        charge: number of protons.
        nucleons: number of protons and neutrons.
    """

    name: str
    charge: int
    nucleons: int

    @property
    def pdg(self) -> int:
        """PDG id: 2212 for a proton, 10LZZZAAAI for a nucleus."""
        if self.nucleons == 1:
            return _PROTON
        return 1_000_000_000 + self.charge * 10_000 + self.nucleons * 10

    @property
    def radius_fm(self) -> float:
        """Half-density radius of the Woods-Saxon profile, 0 for a proton.

        R = (1.1 A^(1/3) - 0.656 A^(-1/3)) fm: Rybczynski et al., Comput. Phys. Commun. 185 (2014)
        1759, which is what Pythia's default nucleus model uses.
        """
        if self.nucleons == 1:
            return 0.0
        third_root = self.nucleons ** (1 / 3)
        return 1.1 * third_root - 0.656 / third_root


@dataclass(frozen=True)
class System:
    """Projectile (towards positive eta) and target."""

    projectile: Beam
    target: Beam

    def __str__(self) -> str:
        """The name in files: "O-O"."""
        return f"{self.projectile.name}-{self.target.name}"


def parse_system(text: str) -> System:
    """The system of a name like "O-O", "p-Pb" or "40Ca-48Ca".

    Raises InputError where it is not two beams or an element is unknown.
    """
    names = text.split("-")
    if len(names) != 2:
        raise InputError(f"system {text!r}: expected two beams with a dash, like O-O or p-Pb")
    projectile, target = (_parse_beam(name, text) for name in names)
    return System(projectile, target)


def _parse_beam(name: str, system: str) -> Beam:
    if name == "p":
        return Beam("p", 1, 1)
    if name == "d":
        return Beam("d", 1, 2)
    match = re.fullmatch(r"(\d*)([A-Z][a-z]?)", name)
    if not match or match[2] not in _CHARGE:
        raise InputError(
            f"system {system!r}: {name!r} is no beam, expected p, d or an element like O, Xe, 48Ca"
        )
    mass, element = match.groups()
    if not mass and element not in _COMMON:
        raise InputError(f"system {system!r}: say which isotope of {element}, like 132{element}")
    nucleons = int(mass) if mass else _COMMON[element]
    charge = _CHARGE[element]
    if not max(charge, 2) <= nucleons <= 4 * charge:
        raise InputError(f"system {system!r}: there is no {nucleons}{element}")
    plain = nucleons == _COMMON.get(element)
    return Beam(element if plain else f"{nucleons}{element}", charge, nucleons)
