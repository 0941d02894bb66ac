"""The observables of jets that are compared: where their values are, how to bin and to name them.

They are those of the paper's Figs. 8, 9, 10 and 15, and the numbers per event behind them.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from hitools.core.compare.histogram import robust_edges
from hitools.core.features import Float64Array, FloatArray, IntArray
from hitools.core.observables.jets.definition import JetDefinition, angularity_name
from hitools.core.observables.jets.table import (
    EVENT_UNITS,
    JET_UNITS,
    JetBatch,
    event_columns,
    jet_columns,
)

_HARD_PT: Final = 10.0
"""The paper shows the background under jets above this pT in GeV/c."""
_LOGARITHMIC: Final = ("pt", "energy")
_N_BINS: Final = (10, 40)
_WHOLE: Final = ("n_constituents", "n_jets")
_TAGGED: Final = ("z_g", "r_g")
_ABOUT_ZERO: Final = ("eta", "phi", "pt_subtracted")
"""Variables whose large values are no tail of their own."""

_LABELS: Final = {
    "pt": r"$p_T^{jet}$",
    "eta": r"$\eta^{jet}$",
    "phi": r"$\phi^{jet}$",
    "energy": r"$E^{jet}$",
    "mass": r"$m^{jet}$",
    "n_constituents": r"$N_{constituents}$",
    "n_jets": r"$N_{jets}$ per event",
    "rho": r"$\rho$",
    "area": r"$A^{jet}$",
    "rho_area": r"$\rho A^{jet}$",
    "pt_subtracted": r"$p_T^{jet} - \rho A^{jet}$",
    "wta_delta_r": r"$\Delta R_{WTA-std}$",
    "soft_drop_delta_r": r"$\Delta R_{SD}$",
    "z_g": r"$z_g$",
    "r_g": r"$R_g$",
}


@dataclass(frozen=True)
class Variable:
    """One observable.

    Attributes:
        name: column of the jet table or of the event table.
        unit: of its values.
        label: symbol for an axis.
        of_events: a number per event, not per jet.
        pt_min: only jets from this pT in GeV/c on; 0 for all.
    """

    name: str
    unit: str
    label: str
    of_events: bool = False
    pt_min: float = 0.0

    @property
    def log(self) -> bool:
        """Whether its bins are equal in the logarithm."""
        return self.name in _LOGARITHMIC

    @property
    def periodic(self) -> bool:
        """Whether it is an angle."""
        return self.name == "phi"

    @property
    def has_tail(self) -> bool:
        """Whether large values are rare, so that it makes sense to ask how far a ratio holds."""
        return self.name not in _ABOUT_ZERO

    @property
    def axis_label(self) -> str:
        """Symbol and unit."""
        unit = self.unit.replace("/c2", "/$c^2$").replace("/c", "/$c$")
        return self.label if unit == "1" else f"{self.label} ({unit})"

    def values(self, batch: JetBatch) -> tuple[FloatArray, IntArray]:
        """(n,) float64 values, and (n,) the event in the batch that each belongs to."""
        if self.of_events:
            return batch.events[self.name].astype(np.float64), np.arange(len(batch))
        column = batch.jets[self.name].astype(np.float64)
        used = np.isfinite(column) & (batch.jets["pt"] >= self.pt_min)
        if self.name in _TAGGED:
            used &= column >= 0
        return column[used], batch.jets["event"][used]

    def edges(self, values: Float64Array) -> Float64Array:
        """(n_bins + 1,) bins that follow these values; n > 0. Few values get few bins."""
        return robust_edges(
            values,
            int(np.clip(len(values) // 100, *_N_BINS)),
            log=self.log,
            whole_numbers=self.name in _WHOLE,
            limits=(-np.pi, np.pi) if self.periodic else None,
        )


def variables_of(definition: JetDefinition) -> tuple[Variable, ...]:
    """What jets of this definition can be compared in, in the order of the paper's figures."""
    there = {*jet_columns(definition), *event_columns(definition)}
    inside = definition.substructure
    hard = _HARD_PT if inside is None else inside.pt_min
    names = [*list(_LABELS)[:7], "wta_delta_r", "soft_drop_delta_r"]
    labels = dict(_LABELS)
    for kappa, alpha in definition.angularities:
        name = angularity_name(kappa, alpha)
        labels[name] = rf"$\lambda^{{\kappa={kappa:g}}}_{{\alpha={alpha:g}}}$"
        names.append(name)
    names += ["z_g", "r_g", "rho_area", "rho", "area", "pt_subtracted"]
    return tuple(
        Variable(
            name,
            JET_UNITS.get(name) or EVENT_UNITS.get(name, "1"),
            labels[name],
            of_events=name in EVENT_UNITS,
            pt_min=hard if name == "rho_area" else 0.0,
        )
        for name in names
        if name in there
    )
