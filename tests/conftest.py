"""Small real things that many tests use."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.benchmarks.tiny import benchmark_images, tiny_benchmark
from tests.device import DEVICE

from creditline.runtime.determinism import exact_kernels

__all__ = ["benchmark_images", "tiny_benchmark"]

# Threads of several test processes on few cores wait for each other far longer than they work.
torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def queries_cost_no_more_than_training_images():
    """By default a query takes 80 passes or more, which tests of other things need not wait for."""
    from creditline.methods import gradient_method

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gradient_method, "QUERY_EVALUATIONS", 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def curvature_takes_few_evaluations():
    """By default it takes thousands, which tests of other things need not wait for."""
    from creditline.methods import ekfac

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ekfac, "DRAWS", 24)
        yield


@pytest.fixture(autouse=DEVICE.type != "cpu")
def exact():
    """Kernels as an extraction has them, for tests of what it is made of."""
    with exact_kernels(DEVICE):
        yield


@pytest.fixture
def tiny_model():
    """A UNetDenoiser of 8x8 pixels and few layers with random, seeded weights."""
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
        attention_head_dim=8,
    )
    return UNetDenoiser(unet, DiscreteProcess.from_scheduler(DDPMScheduler())).to(DEVICE)


@pytest.fixture
def tiny_images():
    """Twelve random images of 8x8 pixels by three contributors."""
    from creditline.data.image_set import ImageSet

    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    return ImageSet.from_images(pixels, contributors=[f"artist {i % 3}" for i in range(12)])


@pytest.fixture
def tiny_folder(tiny_model, tmp_path):
    """The tiny model saved as a diffusers pipeline."""
    from diffusers import DDPMPipeline, DDPMScheduler

    folder = tmp_path / "tiny-pipeline"
    DDPMPipeline(unet=tiny_model.module, scheduler=DDPMScheduler()).save_pretrained(folder)
    return folder
