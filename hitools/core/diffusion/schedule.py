"""The noise schedule: how much signal and noise a diffused event holds at time t.

z_t = alpha z_0 + sigma eps with alpha = cos theta, sigma = sin theta and theta close to pi t / 2
(paper, section II A). As in OmniLearn the log-SNR is kept within +-20, which the angle shows as
theta = b + (pi/2 - 2b) t with b = atan(exp(-10)) = 4.5e-5: neither end is quite reached.
In the angle the velocity v = alpha eps - sigma z_0 is the exact derivative of z, dz/dtheta = v.
"""

import math

import torch
from torch import Tensor

MAX_LOG_SNR = 20.0
FIRST_ANGLE = math.atan(math.exp(-MAX_LOG_SNR / 2))
ANGLE_RANGE = math.pi / 2 - 2 * FIRST_ANGLE


def angle(t: float) -> float:
    """Angle theta of one time in [0, 1], in double precision, for the samplers."""
    return FIRST_ANGLE + ANGLE_RANGE * t


def alpha_sigma(t: Tensor) -> tuple[Tensor, Tensor]:
    """Signal and noise amplitudes at times t, of any shape; alpha^2 + sigma^2 = 1."""
    theta = FIRST_ANGLE + ANGLE_RANGE * t
    return theta.cos(), theta.sin()


def log_snr(t: Tensor) -> Tensor:
    """Logarithm of alpha^2 / sigma^2 at times t; from 20 at t = 0 down to -20 at t = 1."""
    return -2 * torch.log(torch.tan(FIRST_ANGLE + ANGLE_RANGE * t))


def diffuse(clean: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The noised z_t = alpha z_0 + sigma eps."""
    return alpha * clean + sigma * noise


def velocity(clean: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """What the network learns: v = alpha eps - sigma z_0 (Salimans and Ho, 2202.00512)."""
    return alpha * noise - sigma * clean


def denoised(noised: Tensor, velocity: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Estimate of z_0 from a velocity: alpha z_t - sigma v."""
    return alpha * noised - sigma * velocity
