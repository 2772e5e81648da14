"""Feature sources that need no gradients: pixels and encoders."""
