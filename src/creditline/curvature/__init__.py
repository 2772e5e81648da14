"""Curvature: what turns similarity of gradients into an estimate of influence."""
