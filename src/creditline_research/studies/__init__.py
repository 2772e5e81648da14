"""Studies of scores and projections on the shipped benchmarks."""
