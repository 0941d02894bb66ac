import math

import pytest
import torch

from hitools.core.diffusion.schedule import (
    alpha_sigma,
    angle,
    denoised,
    diffuse,
    log_snr,
    velocity,
)

TIMES = torch.linspace(0, 1, 101, dtype=torch.float64)


def test_signal_and_noise_power_add_up_to_one():
    alpha, sigma = alpha_sigma(TIMES)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(TIMES))


def test_the_schedule_is_the_cosine_of_the_paper_up_to_the_clipping():
    alpha, sigma = alpha_sigma(TIMES)
    torch.testing.assert_close(alpha, torch.cos(math.pi / 2 * TIMES), rtol=0, atol=5e-5)
    torch.testing.assert_close(sigma, torch.sin(math.pi / 2 * TIMES), rtol=0, atol=5e-5)


def test_log_snr_runs_from_20_to_minus_20():
    values = log_snr(TIMES)
    assert float(values[0]) == pytest.approx(20)
    assert float(values[-1]) == pytest.approx(-20)
    alpha, sigma = alpha_sigma(TIMES)
    torch.testing.assert_close(values, torch.log(alpha**2 / sigma**2))


def test_the_velocity_is_the_derivative_in_the_angle():
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 50, dtype=torch.float64, generator=generator)
    step = 1e-5
    t = torch.full((50,), 0.3, dtype=torch.float64)
    later, earlier = (diffuse(clean, noise, *alpha_sigma(t + h)) for h in (step, -step))
    slope = (later - earlier) / (angle(0.3 + step) - angle(0.3 - step))
    torch.testing.assert_close(velocity(clean, noise, *alpha_sigma(t)), slope, rtol=1e-8, atol=1e-8)


def test_the_true_velocity_denoises_exactly():
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 101, dtype=torch.float64, generator=generator)
    alpha, sigma = alpha_sigma(TIMES)
    noised = diffuse(clean, noise, alpha, sigma)
    v = velocity(clean, noise, alpha, sigma)
    torch.testing.assert_close(denoised(noised, v, alpha, sigma), clean)
