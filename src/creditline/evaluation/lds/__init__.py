"""LDS: how well scores predict the losses of retrained models."""
