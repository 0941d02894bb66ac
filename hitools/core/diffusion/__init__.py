"""The diffusion process: noise schedule, training objective and samplers."""
