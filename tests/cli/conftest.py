"""A tiny model, its images and an index of them, on disk once for all command line tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from creditline.cli import main


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> str:
    """A diffusers pipeline folder: 8x8 pixels, random weights."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

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
    folder = tmp_path_factory.mktemp("cli") / "model"
    DDPMPipeline(unet=unet, scheduler=DDPMScheduler()).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> str:
    """Ten images by two contributors, two of them equal."""
    from creditline.data.image_set import ImageSet

    pixels = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    pixels[7] = pixels[2]
    images = ImageSet.from_images(pixels, contributors=[f"artist {i % 2}" for i in range(10)])
    return str(images.save(tmp_path_factory.mktemp("cli") / "data"))


@pytest.fixture(scope="session")
def generated(model, tmp_path_factory) -> str:
    """Two generated images with their trajectories."""
    out = str(tmp_path_factory.mktemp("cli") / "generated")
    arguments = ["generate", model, "-n", "2", "--steps", "3", "--trajectory", "--out", out]
    assert invoke(*arguments).exit_code == 0
    return out


@pytest.fixture(scope="session")
def index(model, data, tmp_path_factory) -> str:
    """A TRAK index."""
    out = str(tmp_path_factory.mktemp("cli") / "index")
    result = invoke("index", model, data, "--out", out, "--method", "trak", *SMALL)
    assert result.exit_code == 0, result.output
    return out


SMALL = ("--timesteps", "2", "--dim", "64", "--workers", "1")


def invoke(*arguments: str) -> Result:
    return CliRunner(env={"CREDITLINE_PROGRESS": "0"}).invoke(main, list(arguments))


@pytest.fixture
def run() -> Callable[..., Result]:
    """Run a command that must succeed; its output is returned with the exit code checked."""

    def successful(*arguments: str | Path) -> Result:
        result = invoke(*map(str, arguments))
        assert result.exit_code == 0, result.output
        return result

    return successful


@pytest.fixture
def refused() -> Callable[..., str]:
    """Run a command that must be refused: one message on stderr, exit code 2, nothing printed."""

    def message(*arguments: str | Path) -> str:
        result = invoke(*map(str, arguments))
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert result.stderr.startswith("creditline: ")
        return result.stderr

    return message


@pytest.fixture
def small() -> tuple[str, ...]:
    """Settings under which an index takes no time."""
    return SMALL
