"""Bins of every event and particle variable, chosen from the reference and shared by samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.compare.histogram import robust_edges
from hitools.core.features import (
    COUNT_COLUMNS,
    EVENT_COLUMNS,
    EVENT_UNITS,
    PARTICLE_COLUMNS,
    PARTICLE_UNITS,
    Float64Array,
    FloatArray,
    IntArray,
)

LOGARITHMIC: Final = ("pt",)
"""Variables whose spectrum falls over decades."""

ANGLES: Final = {
    "psi_2": (-np.pi / 2, np.pi / 2),
    "phi": (-np.pi, np.pi),
    "phi_rel": (-np.pi, np.pi),
}
"""Variables whose range is known."""

VARIABLES: Final = (*EVENT_COLUMNS, *PARTICLE_COLUMNS)
UNITS: Final = {**EVENT_UNITS, **PARTICLE_UNITS}

LABELS: Final = {
    "mean_pt": r"$\langle p_T \rangle$",
    "sum_pt": r"$\Sigma p_T$",
    "q_x": r"$Q_x$",
    "q_y": r"$Q_y$",
    "psi_2": r"$\psi_2$",
    "b": r"$b$",
    "n_coll": r"$N_{coll}$",
    "n_part": r"$N_{part}$",
    "mean_eta": r"$\langle \eta \rangle$",
    "mean_phi": r"$\langle \phi \rangle$",
    "n_particles": r"$N_{particles}$",
    "phi_rel": r"$\phi^{rel}$",
    "pt_rel": r"$p_T^{rel}$",
    "eta_rel": r"$\eta^{rel}$",
    "pt": r"$p_T$",
    "eta": r"$\eta$",
    "phi": r"$\phi$",
}


def axis_label(name: str) -> str:
    """Symbol and unit of a variable, for an axis."""
    unit = UNITS[name].replace("/c", "/$c$")
    return LABELS[name] if unit == "1" else f"{LABELS[name]} ({unit})"


def values_of(batch: EventBatch, name: str) -> FloatArray:
    """(n_events,) or (n_particles_total,) values; generated counts rounded to whole numbers."""
    if name in EVENT_COLUMNS:
        values = batch.event(name)
        return np.rint(values) if name in COUNT_COLUMNS else values
    return batch.particle(name)


@dataclass(frozen=True)
class Binning:
    """Bins of one variable.

    Attributes:
        name: event or particle column.
        edges: (n_bins + 1,) ascending.
    """

    name: str
    edges: Float64Array

    @classmethod
    def following(cls, name: str, batches: Sequence[EventBatch], n_bins: int) -> "Binning":
        """Bins for these events; see histogram.robust_edges.

        Raises:
            ValueError: there is no value to follow.
        """
        values = np.concatenate([values_of(batch, name) for batch in batches])
        edges = robust_edges(
            values.astype(np.float64),
            n_bins,
            log=name in LOGARITHMIC,
            whole_numbers=name in COUNT_COLUMNS,
            limits=ANGLES.get(name),
        )
        return cls(name, edges)

    @property
    def log(self) -> bool:
        """Whether the bins are equal in the logarithm."""
        return self.name in LOGARITHMIC

    @property
    def of_events(self) -> bool:
        """Whether this is an event variable."""
        return self.name in EVENT_COLUMNS

    def halved(self) -> "Binning":
        """Every two bins joined, for maps; an odd last one stays."""
        last = [] if len(self.edges) % 2 else [self.edges[-1]]
        return Binning(self.name, np.concatenate([self.edges[::2], last]))

    def halved_index(self, index: IntArray) -> IntArray:
        """Bin of halved() for each bin of this one (0 below, n_bins + 1 above)."""
        n_bins = len(self.edges) - 1
        return np.where(index > n_bins, (n_bins + 1) // 2 + 1, (index + 1) // 2)

    def __str__(self) -> str:
        """One line for people: "pt: 50 bins from 0.01 to 12.3 GeV/c, logarithmic"."""
        unit = "" if UNITS[self.name] == "1" else f" {UNITS[self.name]}"
        low, high = self.edges[0], self.edges[-1]
        how = ", logarithmic" if self.log else ""
        return f"{self.name}: {len(self.edges) - 1} bins from {low:.4g} to {high:.4g}{unit}{how}"
