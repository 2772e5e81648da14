"""The index on disk: features of the training images, their curvature, and where they came from."""
