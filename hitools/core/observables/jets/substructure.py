"""Inside jets: Winner-Take-All axis, Soft Drop, angularities.

All distances are in (rapidity, phi).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hitools.core.features import BoolArray, Float64Array, IntArray
from hitools.core.observables.jets.clustering import cambridge_trees, winner_take_all
from hitools.core.observables.jets.kinematics import (
    azimuth,
    delta_r,
    pseudorapidity,
    rapidity,
    transverse_momentum,
)

UNTAGGED: Final = -1.0
"""z_g and R_g of a jet in which no splitting passes Soft Drop."""


@dataclass(frozen=True, eq=False)
class SoftDrop:
    """Groomed jets.

    Attributes:
        momenta: (4, n_jets); where no splitting passes, the constituent that was left.
        z_g: (n_jets,) momentum fraction of the softer branch, or -1.
        r_g: (n_jets,) distance of the two branches, or -1.
        untouched: (n_jets,) whether the first splitting passed already.
    """

    momenta: Float64Array
    z_g: Float64Array
    r_g: Float64Array
    untouched: BoolArray


def soft_drop(
    constituents: Float64Array,
    offsets: IntArray,
    z_cut: float,
    beta: float,
    radius: float,
    *,
    dense: bool = False,
) -> SoftDrop:
    """Undo the C/A clustering, following the harder branch, until

    min(pT1, pT2) / (pT1 + pT2) > z_cut (dR12 / R)^beta

    (A. J. Larkoski, S. Marzani, G. Soyez, J. Thaler, JHEP 05 (2014) 146, eq. 1.1).

    Args:
        constituents: (4, n_constituents) jet by jet, at least one for each jet.
        offsets: (n_jets + 1,).
        z_cut: threshold.
        beta: angular exponent.
        radius: R.
        dense: see clustering.cluster.
    """
    trees = cambridge_trees(constituents, offsets, dense=dense)
    node = trees.roots.copy()
    z_g = np.full(len(node), UNTAGGED)
    r_g = np.full(len(node), UNTAGGED)
    open_jets = np.flatnonzero(trees.first[node] >= 0)
    while len(open_jets):
        first, second = trees.first[node[open_jets]], trees.second[node[open_jets]]
        branches = trees.momenta[:, first], trees.momenta[:, second]
        pt_first, pt_second = (transverse_momentum(branch) for branch in branches)
        z = np.minimum(pt_first, pt_second) / (pt_first + pt_second)
        (y_first, phi_first), (y_second, phi_second) = (
            (rapidity(branch), azimuth(branch)) for branch in branches
        )
        distance = delta_r(y_first, phi_first, y_second, phi_second)
        with np.errstate(divide="ignore"):  # beta < 0 asks for everything of collinear branches
            passes = z > z_cut * (distance / radius) ** beta
        z_g[open_jets[passes]] = z[passes]
        r_g[open_jets[passes]] = distance[passes]
        harder = np.where(pt_first >= pt_second, first, second)[~passes]
        open_jets = open_jets[~passes]
        node[open_jets] = harder
        open_jets = open_jets[trees.first[harder] >= 0]
    return SoftDrop(trees.momenta[:, node], z_g, r_g, node == trees.roots)


def angularity(
    jets: Float64Array,
    constituents: Float64Array,
    offsets: IntArray,
    exponents: Sequence[tuple[float, float]],
    radius: float,
) -> Float64Array:
    """Sum over constituents of (pT_i / pT_jet)^kappa (dR_i / R)^alpha.

    Paper, section IV D, after A. J. Larkoski, J. Thaler, W. J. Waalewijn, JHEP 11 (2014) 129.

    Args:
        jets: (4, n_jets) the jets, whose direction is the axis.
        constituents: (4, n_constituents) jet by jet, at least one for each jet.
        offsets: (n_jets + 1,).
        exponents: (kappa, alpha) pairs.
        radius: R.

    Returns:
        (len(exponents), n_jets).
    """
    counts = np.diff(offsets)

    def of_jet(values: Float64Array) -> Float64Array:
        return np.repeat(values, counts)

    z = transverse_momentum(constituents) / of_jet(transverse_momentum(jets))
    distance = delta_r(
        rapidity(constituents), azimuth(constituents), of_jet(rapidity(jets)), of_jet(azimuth(jets))
    )
    sums = np.empty((len(exponents), len(counts)))
    for row, (kappa, alpha) in zip(sums, exponents, strict=True):
        with np.errstate(divide="ignore"):  # alpha < 0 diverges for a constituent on the axis
            terms = z**kappa * (distance / radius) ** alpha
        row[:] = np.add.reduceat(terms, offsets[:-1])
    return sums


def axes_and_grooming(
    jets: Float64Array,
    constituents: Float64Array,
    offsets: IntArray,
    z_cut: float,
    beta: float,
    radius: float,
    *,
    dense: bool = False,
) -> dict[str, Float64Array]:
    """Where the Winner-Take-All axis and the groomed jet are, as columns of the jet table.

    Args:
        jets: (4, n_jets).
        constituents: (4, n_constituents) jet by jet, at least one for each jet.
        offsets: (n_jets + 1,).
        z_cut: of Soft Drop.
        beta: of Soft Drop.
        radius: R.
        dense: see clustering.cluster.
    """
    jet_rapidity, jet_phi = rapidity(jets), azimuth(jets)
    axis = winner_take_all(constituents, offsets, dense=dense)
    wta_rapidity, wta_phi = rapidity(axis), azimuth(axis)
    groomed = soft_drop(constituents, offsets, z_cut, beta, radius, dense=dense)
    groomed_rapidity, groomed_phi = rapidity(groomed.momenta), azimuth(groomed.momenta)
    groomed_delta_r = delta_r(groomed_rapidity, groomed_phi, jet_rapidity, jet_phi)
    return {
        "wta_rapidity": wta_rapidity,
        "wta_phi": wta_phi,
        "wta_delta_r": delta_r(wta_rapidity, wta_phi, jet_rapidity, jet_phi),
        "soft_drop_pt": transverse_momentum(groomed.momenta),
        "soft_drop_eta": pseudorapidity(groomed.momenta),
        "soft_drop_phi": groomed_phi,
        # The sum of the same particles in another order is not the same to the last digit.
        "soft_drop_delta_r": np.where(groomed.untouched, 0.0, groomed_delta_r),
        "z_g": groomed.z_g,
        "r_g": groomed.r_g,
    }
