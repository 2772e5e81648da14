"""Synthetic ground truths, a small model and an index that the tests of evaluations share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

import creditline as cl
from creditline.data.image_set import ImageSet


@dataclass(frozen=True)
class World:
    """A ground truth of linear effects: an image with a positive effect lowers the loss.

    Attributes:
        effects: shape `(m, n)`.
        masks: shape `(M, n)`.
        losses: shape `(M, S, m)`.
    """

    effects: np.ndarray
    masks: np.ndarray
    losses: np.ndarray


@pytest.fixture
def world():
    """A function of m queries, n images, M subsets, S seeds and noise in units of the signal."""

    def make(m: int = 6, n: int = 30, M: int = 64, S: int = 2, noise: float = 0.0, seed: int = 0):
        rng = np.random.default_rng(seed)
        effects = rng.normal(size=(m, n))
        masks = np.zeros((M, n), bool)
        for row in masks:
            row[rng.permutation(n)[: n // 2]] = True
        signal = masks @ effects.T
        scale = signal.std(0) * noise
        noises = rng.normal(size=(M, S, m)) * scale
        return World(effects, masks, 5.0 - signal[:, None, :] + noises)

    return make


@pytest.fixture(scope="session")
def small_model():
    """A UNetDenoiser of 8x8 pixels without attention, with random, seeded weights."""
    from diffusers import DDPMScheduler, UNet2DModel

    from creditline.diffusion.families.pixel import UNetDenoiser
    from creditline.diffusion.process import DiscreteProcess

    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8,),
        layers_per_block=1,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        norm_num_groups=4,
        add_attention=False,
    )
    return UNetDenoiser(unet, DiscreteProcess.from_scheduler(DDPMScheduler()))


@pytest.fixture(scope="session")
def images_of_contributors():
    """Twelve random images of 8x8 pixels by three contributors."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    return ImageSet.from_images(pixels, contributors=[f"artist {i % 3}" for i in range(12)])


@pytest.fixture(scope="session")
def trak_index(small_model, images_of_contributors, tmp_path_factory):
    """A TRAK index of these images with both split-half noise; opens without its model."""
    from diffusers import DDPMPipeline, DDPMScheduler

    place = tmp_path_factory.mktemp("trak")
    pipeline = DDPMPipeline(unet=small_model.module, scheduler=DDPMScheduler())
    pipeline.save_pretrained(place / "model")
    settings = {"timesteps": 2, "draws": 2, "dim": 64, "damping": 1.0}
    out = place / "index"
    return cl.index(
        str(place / "model"), images_of_contributors, method="trak", out=out, **settings
    )
