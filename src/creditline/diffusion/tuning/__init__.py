"""Tuning a model that exists: an adapter on it, or all of its denoiser's weights."""
