"""Latent diffusion: schedule, DDIM both ways, latents, attention, and the one door for weights (``backbone``)."""
