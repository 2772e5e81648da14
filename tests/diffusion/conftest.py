"""A run so small that a step takes milliseconds, yet with everything that a run can have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from creditline.data.image_set import ImageSet
from creditline.diffusion.config import TrainConfig, UNetConfig


@pytest.fixture
def tiny_config():
    """Seven steps with averaging, mirroring, dropout, classes and checkpoints."""
    unet = UNetConfig(
        resolution=8, channels=(4, 8), attention=(1,), groups=4, dropout=0.2, classes=3
    )
    return TrainConfig(
        unet=unet, steps=7, batch_size=5, ema=0.9, flip=True, seed=3, checkpoint_every=3
    )


@pytest.fixture
def plain_config(tiny_config):
    """The same without classes."""
    return replace(tiny_config, unet=replace(tiny_config.unet, classes=0))


@pytest.fixture
def labeled_images():
    """Twelve random images of 8x8 pixels in three classes."""
    pixels = np.random.default_rng(1).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    return ImageSet.from_images(pixels, labels=[i % 3 for i in range(12)])


@pytest.fixture
def weights():
    """A function: every array of a saved pipeline's network, as bytes by name."""

    def read(folder):
        arrays = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
        return {name: array.tobytes() for name, array in arrays.items()}

    return read
