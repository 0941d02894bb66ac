"""What a jet is: algorithm, acceptance, ghosts, background and substructure, as options.

Built once from the command line, handed to find_jets, and written into the jet file.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

from hitools.core.errors import InputError

ALGORITHMS: Final = ("antikt", "kt", "cambridge")
RHO_DEFINITIONS: Final = ("all", "occupied")
RHO_AREAS: Final = ("4vector", "scalar")
PION_MASS_GEV: Final = 0.13957039
"""Charged pion (Particle Data Group 2024)."""

BACKGROUND_RADIUS: Final = 0.4
N_HARDEST_EXCLUDED: Final = 2


@dataclass(frozen=True)
class Areas:
    """Active areas from ghosts, and the background density that needs them.

    Attributes:
        ghost_area: area of a ghost; rounded down so that the grid fills the acceptance.
        rho_definition: "all" is the median over all kT jets, also those of ghosts alone;
            "occupied" is the median over those with a particle, times the fraction of the area
            that they cover.
        rho_area: the area that divides a kT jet's pT: "4vector" (transverse component of the
            area four-vector, FastJet's default) or "scalar".
    """

    ghost_area: float = 0.01
    rho_definition: str = "all"
    rho_area: str = "4vector"


@dataclass(frozen=True)
class Substructure:
    """What is looked for inside jets.

    Attributes:
        pt_min: jets from this pT in GeV/c on are looked into.
        z_cut: Soft Drop threshold.
        beta: Soft Drop angular exponent.
        angularities: (kappa, alpha) of each angularity besides (1, 2), which is always there.
    """

    pt_min: float = 10.0
    z_cut: float = 0.1
    beta: float = 0.0
    angularities: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class JetDefinition:
    """Everything that determines the jets of an event.

    Attributes:
        algorithm: "antikt", "kt" or "cambridge" (Cambridge/Aachen), in the E-scheme.
        radius: R.
        pt_min: smallest jet pT in GeV/c.
        eta_max: particles with |eta| > eta_max are left out; ghosts cover |y| < eta_max.
        jet_eta_max: jets have |eta| < jet_eta_max; None is eta_max - radius.
        particle_mass_gev: the mass given to every particle.
        areas: None for neither areas nor background.
        substructure: None for none.
        constituents: whether the indices of a jet's particles are kept.
        seed: of the ghosts.
    """

    algorithm: str = "antikt"
    radius: float = 0.4
    pt_min: float = 5.0
    eta_max: float = 2.5
    jet_eta_max: float | None = None
    particle_mass_gev: float = PION_MASS_GEV
    areas: Areas | None = Areas()
    substructure: Substructure | None = Substructure()
    constituents: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        """Raise InputError for what cannot be clustered."""
        if self.algorithm not in ALGORITHMS:
            raise InputError(f"jet algorithm {self.algorithm!r}, expected {', '.join(ALGORITHMS)}")
        if not 0 < self.radius <= 1.5:
            raise InputError(f"jet radius {self.radius:g}, expected above 0, up to 1.5")
        if not self.pt_min > 0:
            raise InputError(f"smallest jet pT {self.pt_min:g} GeV/c, expected more than 0")
        if not 0 < self.eta_max <= 20:
            raise InputError(f"|eta| < {self.eta_max:g}, expected a limit above 0, up to 20")
        if not self.jet_acceptance > 0:
            raise InputError(
                f"no room for jets: |eta| < {self.jet_acceptance:g} "
                f"with particles in |eta| < {self.eta_max:g} and R = {self.radius:g}"
            )
        if self.areas is not None:
            self._check_areas(self.areas)

    def _check_areas(self, areas: Areas) -> None:
        if areas.rho_definition not in RHO_DEFINITIONS:
            raise InputError(f"rho over {areas.rho_definition!r} jets, expected all or occupied")
        if areas.rho_area not in RHO_AREAS:
            raise InputError(f"rho with {areas.rho_area!r} area, expected 4vector or scalar")
        if not 1e-4 <= areas.ghost_area <= 0.1:
            raise InputError(f"ghost area {areas.ghost_area:g}, expected 0.0001 to 0.1")
        if self.eta_max <= BACKGROUND_RADIUS:
            raise InputError(
                f"|eta| < {self.eta_max:g} leaves no room for the jets of the background "
                f"(kT, R = {BACKGROUND_RADIUS:g})"
            )

    @property
    def jet_acceptance(self) -> float:
        """Jets have |eta| below this."""
        return self.eta_max - self.radius if self.jet_eta_max is None else self.jet_eta_max

    @property
    def angularities(self) -> tuple[tuple[float, float], ...]:
        """The (kappa, alpha) to compute, (1, 2) first."""
        if self.substructure is None:
            return ()
        return tuple(dict.fromkeys(((1.0, 2.0), *self.substructure.angularities)))

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, also of what is fixed, for JSON and the jet file."""
        return asdict(self) | {
            "recombination": "E-scheme",
            "jet_eta_max": self.jet_acceptance,
            "background": {
                "algorithm": "kt",
                "radius": BACKGROUND_RADIUS,
                "hardest_excluded": N_HARDEST_EXCLUDED,
                "jet_eta_max": self.eta_max - BACKGROUND_RADIUS,
            },
        }

    def sentence(self) -> str:
        """One line for people that names every choice."""
        name = {"antikt": "anti-kT", "kt": "kT", "cambridge": "Cambridge/Aachen"}[self.algorithm]
        mass = f"mass {self.particle_mass_gev:g} GeV/c2" if self.particle_mass_gev else "no mass"
        text = (
            f"Jets: {name}, R = {self.radius:g}, E-scheme, pT > {self.pt_min:g} GeV/c, "
            f"|eta| < {self.jet_acceptance:g}; particles in |eta| < {self.eta_max:g} with {mass}"
        )
        if self.areas is not None:
            which = {
                "all": "over all kT jets, empty ones too",
                "occupied": "over kT jets with particles, corrected for empty space",
            }[self.areas.rho_definition]
            text += (
                f"; ghosts of area {self.areas.ghost_area:g}; rho: median {which} "
                f"(R = {BACKGROUND_RADIUS:g}, without the {N_HARDEST_EXCLUDED} hardest)"
            )
        if self.substructure is not None:
            inside = self.substructure
            text += (
                f"; inside jets above {inside.pt_min:g} GeV/c: "
                f"Soft Drop z_cut = {inside.z_cut:g}, beta = {inside.beta:g}"
            )
        return f"{text}."

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "JetDefinition":
        """The definition that as_dict() described. Raises InputError where it is not one."""
        values = {name: stored[name] for name in cls.__dataclass_fields__ if name in stored}
        try:
            if values.get("areas") is not None:
                values["areas"] = Areas(**values["areas"])
            if values.get("substructure") is not None:
                inside = dict(values["substructure"])
                inside["angularities"] = tuple(
                    (float(kappa), float(alpha)) for kappa, alpha in inside["angularities"]
                )
                values["substructure"] = Substructure(**inside)
            return cls(**values)
        except (TypeError, KeyError, ValueError) as error:
            raise InputError(f"not a jet definition: {error}") from None


def angularity_name(kappa: float, alpha: float) -> str:
    """Column of an angularity: "angularity" is (1, 2), the others name their exponents."""
    if (kappa, alpha) == (1.0, 2.0):
        return "angularity"
    return f"angularity_{kappa:g}_{alpha:g}"
