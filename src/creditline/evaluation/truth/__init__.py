"""Ground truth: what retraining on subsets really does to the loss of a picture."""
