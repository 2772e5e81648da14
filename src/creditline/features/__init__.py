"""Feature tables, and the extractors that fill them: pixels, encoders, gradients."""
