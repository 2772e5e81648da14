"""Ground truth: losses of queries under models retrained on subsets of the training images."""
