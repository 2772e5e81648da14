"""The D-TRAK paper's experiments: splits, settings, costs and the authors' numbers."""
