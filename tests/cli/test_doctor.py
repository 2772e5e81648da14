"""`creditline doctor`: what it prints and its exit code."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from creditline.cli import main

SMALL = ("--timesteps", "2", "--dim", "64", "--samples", "2", "--workers", "1")


@pytest.fixture
def damaged(model, tmp_path) -> Path:
    """The model with one weight that is not a number."""
    folder = Path(shutil.copytree(model, tmp_path / "damaged"))
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["conv_out.bias"][0] = float("nan")
    save_file(weights, path)
    return folder


@pytest.mark.slow
def test_sound_model_with_its_images(run, model, data):
    text = run("doctor", model, data, *SMALL).stdout
    for line in ("images fit", "equal to autograd", "10 images with 1 worker", "first trace"):
        assert line in " ".join(text.split())
    assert "warn  duplicates" in text
    assert text.rstrip().endswith("0 failed.")
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.slow
def test_without_images_the_cost_is_estimated_for_a_number(run, model):
    text = run("doctor", model, "--images", "2000", *SMALL).stdout
    assert "for 2,000 images" in " ".join(text.split())
    assert "images fit" not in text


@pytest.mark.slow
def test_exit_code_1_when_a_check_fails(damaged):
    runner = CliRunner(env={"CREDITLINE_PROGRESS": "0"})
    result = runner.invoke(main, ["doctor", str(damaged), *SMALL])
    assert result.exit_code == 1
    assert "fail  finite weights" in result.stdout
    assert "conv_out.bias" in result.stdout


def test_methods_without_gradients_are_refused(refused, model):
    assert "takes none" in refused("doctor", model, "--method", "pixel-dot")


@pytest.mark.slow
def test_settings_reach_the_features(run, model):
    text = run("doctor", model, "--parameters", "conv_out*", *SMALL, "--dim", "32").stdout
    assert "warn  coverage" in text
    assert "dimension 64" in text  # 32 of each part
