"""Diffusion models: process, denoiser, loading, training, sampling."""
