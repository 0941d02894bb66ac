"""Four-momenta as arrays (4, n): px, py, pz, E in GeV, and what is derived from them.

For the modules of this package. Rapidity follows FastJet's definition, so that distances are
the ones that its clustering used.
"""

import numpy as np

from hitools.core.features import Float64Array, FloatArray


def four_momenta(pt: FloatArray, eta: FloatArray, phi: FloatArray, mass: float) -> Float64Array:
    """(4, n) four-momenta of particles of one mass; pT in GeV/c, mass in GeV/c2."""
    pt, eta, phi = (x.astype(np.float64) for x in (pt, eta, phi))
    momenta = np.empty((4, len(pt)))
    momenta[0] = pt * np.cos(phi)
    momenta[1] = pt * np.sin(phi)
    momenta[2] = pt * np.sinh(eta)
    momenta[3] = np.sqrt(pt**2 + momenta[2] ** 2 + mass**2)
    return momenta


def transverse_momentum(momenta: Float64Array) -> Float64Array:
    """(n,) pT."""
    return np.hypot(momenta[0], momenta[1])


def azimuth(momenta: Float64Array) -> Float64Array:
    """(n,) phi in (-pi, pi]."""
    phi = np.arctan2(momenta[1], momenta[0])
    return np.where(phi <= -np.pi, np.pi, phi)


def pseudorapidity(momenta: Float64Array) -> Float64Array:
    """(n,) eta; infinite along the beam."""
    with np.errstate(divide="ignore"):
        return np.arcsinh(momenta[2] / transverse_momentum(momenta))


def mass_squared(momenta: Float64Array) -> Float64Array:
    """(n,) m2, in the form that keeps its digits at large |pz|; not below 0."""
    px, py, pz, energy = momenta
    return np.maximum((energy + pz) * (energy - pz) - (px**2 + py**2), 0.0)


def rapidity(momenta: Float64Array) -> Float64Array:
    """(n,) y = ln((E + |pz|) / m_T) with the sign of pz, as FastJet computes it."""
    px, py, pz, energy = momenta
    transverse_mass_squared = px**2 + py**2 + mass_squared(momenta)
    with np.errstate(divide="ignore"):
        size = -0.5 * np.log(transverse_mass_squared / (energy + np.abs(pz)) ** 2)
    return np.copysign(size, pz)


def delta_r(
    rapidity_a: Float64Array, phi_a: Float64Array, rapidity_b: Float64Array, phi_b: Float64Array
) -> Float64Array:
    """Distance in (rapidity, phi), phi periodic."""
    delta_phi = np.abs(phi_a - phi_b)
    delta_phi = np.where(delta_phi > np.pi, 2 * np.pi - delta_phi, delta_phi)
    return np.hypot(rapidity_a - rapidity_b, delta_phi)
