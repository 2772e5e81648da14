"""Counterfactual evaluation: remove training images, retrain, and generate again."""
