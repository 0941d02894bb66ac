"""v_n, cumulants and trigger correlations from sums, with jackknife errors over events."""

from dataclasses import dataclass

import numpy as np

from hitools.core.compare import bootstrap
from hitools.core.compare.flow_sums import Sums
from hitools.core.features import BoolArray, Float64Array

Values = dict[str, Float64Array]


@dataclass(frozen=True)
class FlowNumbers:
    """Numbers and curves of one sample, by name.

    Attributes:
        value: "v2_sp", "v2_sp.resolution", "c2_2", "c2_4", "v2_2", "v2_4" and so on for each
            harmonic, "pairs.triggers", "pairs.associated", "pairs.cos_1" ... (), and the curves
            "v2_sp(pt)", its numerator "u2_sp(pt)", "v2_2(pt)", "v2_4(pt)" and their numerators
            "d2_2(pt)" and "d2_4(pt)", each (n_pt,).
        error: of the same shapes.
    """

    value: Values
    error: Values


def flow_numbers(
    sums: Sums, harmonics: tuple[int, ...], groups: BoolArray | None = None
) -> FlowNumbers:
    """All numbers of a sample.

    Args:
        sums: per group, as FlowSums collects them.
        harmonics: n of v_n.
        groups: (64,) which groups to use; None for all.
    """
    filled = sums["events"] > 0
    if groups is not None:
        filled = filled & groups
    used = {
        name: kept * filled[(slice(None),) + (None,) * (kept.ndim - 1)]
        for name, kept in sums.items()
        if name not in ("delta_phi", "map")
    }
    value = _values({name: kept.sum(0) for name, kept in used.items()}, harmonics)
    parts = {name: bootstrap.left_out(kept, filled) for name, kept in used.items()}
    error = {name: bootstrap.jackknife_error(x) for name, x in _values(parts, harmonics).items()}
    return FlowNumbers(value, error)


def _values(totals: Sums, harmonics: tuple[int, ...]) -> Values:
    """Every number for totals with any leading axes (...). NaN where not defined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        out: Values = {
            "pairs.triggers": totals["triggers"] / totals["events"],
            "pairs.associated": totals["pairs"] / totals["triggers"],
        }
        cosines = totals["cosines"] / totals["pairs"][..., None]
        for k in range(3):
            out[f"pairs.cos_{k + 1}"] = cosines[..., k]
        for n in harmonics:
            out |= _scalar_product(totals, n)
            out |= _cumulants(totals, n)
    return out


def _scalar_product(totals: Sums, n: int) -> Values:
    """v_n{SP} = <cos n(phi - psi_ref)> / sqrt(<cos n(psi_A - psi_B)>); paper, section IV C."""
    numerator, count = totals[f"{n}.numerator"], totals[f"{n}.count"]
    root = np.sqrt(totals[f"{n}.root"] / totals[f"{n}.defined"])
    root = np.where(root > 0, root, np.nan)
    return {
        f"v{n}_sp.resolution": totals[f"{n}.resolution"] / totals[f"{n}.defined"],
        f"v{n}_sp": numerator.sum(-1) / count.sum(-1) / root,
        f"v{n}_sp(pt)": numerator / count / root[..., None],
        f"u{n}_sp(pt)": numerator / count,
    }


def _cumulants(totals: Sums, n: int) -> Values:
    """c_n, d_n and v_n of second and fourth order (PRC 83 (2011) 044913, equations 12 to 39)."""
    two, four = (totals[f"{n}.{k}"][..., 0] / totals[f"{n}.{k}"][..., 1] for k in ("two", "four"))
    d_2, four_prime = (
        totals[f"{n}.{k}"][..., 0, :] / totals[f"{n}.{k}"][..., 1, :]
        for k in ("two_prime", "four_prime")
    )
    c_4 = four - 2 * two**2
    d_4 = four_prime - 2 * d_2 * two[..., None]
    v_2, v_4 = np.sqrt(two), (-c_4) ** 0.25
    return {
        f"c{n}_2": two,
        f"c{n}_4": c_4,
        f"v{n}_2": v_2,
        f"v{n}_4": v_4,
        f"d{n}_2(pt)": d_2,
        f"d{n}_4(pt)": d_4,
        f"v{n}_2(pt)": d_2 / v_2[..., None],
        f"v{n}_4(pt)": -d_4 / v_4[..., None] ** 3,
    }
