"""Counterfactual: leave images out, train again, draw the picture again."""
