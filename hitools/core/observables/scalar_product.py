"""v_n{SP}(pT) from two sub-events with a gap in pseudorapidity (paper, section IV C, Fig. 7).

A particle in one half of the event is correlated with the plane of the other half, and the mean
is divided by the root of the correlation between the two planes.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from hitools.core.batch import EventBatch
from hitools.core.features import Float64Array, IntArray
from hitools.core.observables.qvector import Phases, SubEvents, cell_sums, event_planes

Estimator = Literal["plane", "product"]
ESTIMATORS: Final = ("plane", "product")


@dataclass(frozen=True)
class ScalarProductSums:
    """Per event, what the estimator averages; event weights are still to be applied.

    Attributes:
        numerator: (n_events, n_pt) sum over particles of cos n(phi - psi_ref) (plane) or of
            Re(u Q_ref*) (product).
        count: (n_events, n_pt) particles in the sum.
        resolution: (n_events,) cos n(psi_A - psi_B); 0 where not defined.
        reference: (n_events,) what is under the root: the resolution (plane) or Re(Q_A Q_B*).
        defined: (n_events,) 1 where both planes exist, else 0.
    """

    numerator: Float64Array
    count: Float64Array
    resolution: Float64Array
    reference: Float64Array
    defined: Float64Array


def scalar_product_sums(
    batch: EventBatch,
    phases: Phases,
    n: int,
    pt_bin: IntArray,
    n_pt: int,
    halves: SubEvents,
    estimator: Estimator = "plane",
) -> ScalarProductSums:
    """Sums for v_n{SP} = <cos n(phi - psi_ref)> / sqrt(<cos n(psi_A - psi_B)>).

    psi_ref is the plane of the half that does not hold the particle; planes are made with pT
    weights. "product" keeps the lengths: <u Q_ref*> / sqrt(<Q_A Q_B*>), which gives the
    root-mean-square flow whatever the resolution is (Luzum and Ollitrault, PRC 87 (2013)
    044907); the paper's form uses the directions alone.

    Args:
        batch: the events.
        phases: of their particles.
        n: harmonic.
        pt_bin: (n_particles_total,) bin of each particle, -1 for none.
        n_pt: number of bins.
        halves: from SubEvents.split.
        estimator: "plane" (the paper) or "product".
    """
    planes = event_planes(batch, phases, n, halves, batch.particle("pt").astype(np.float64))
    pointing = planes.unit if estimator == "plane" else planes.vector * planes.defined
    n_cells = len(batch) * n_pt
    numerator = np.zeros((len(batch), n_pt))
    count = np.zeros((len(batch), n_pt))
    for own, other in ((0, 1), (1, 0)):
        used = (halves.side == own) & (pt_bin >= 0)
        cell = batch.event_of_particle[used] * n_pt + pt_bin[used]
        flow = cell_sums(phases[n][used], cell, n_cells).reshape(len(batch), n_pt)
        numerator += (flow * pointing[other].conj()[:, None]).real
        count += np.bincount(cell, minlength=n_cells).reshape(len(batch), n_pt)
    return ScalarProductSums(
        numerator,
        count * planes.defined[:, None],
        planes.resolution,
        (pointing[0] * pointing[1].conj()).real,
        planes.defined.astype(np.float64),
    )
