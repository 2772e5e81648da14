"""LDS: how well scores foretell the ground truth of retraining."""
