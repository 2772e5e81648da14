"""The D-TRAK paper's experiments: splits, settings, costs, the authors' numbers."""
