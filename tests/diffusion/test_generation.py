"""Folders of generated images: what they hold, how they are continued, what they remember."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from PIL import Image
from safetensors import SafetensorError

from creditline.data.load import load_images
from creditline.diffusion import generation as sample_module
from creditline.diffusion.families.pixel import UNetDenoiser
from creditline.diffusion.generation import GenerateConfig, generate, read_record, read_trajectory
from creditline.diffusion.process import DiscreteProcess
from creditline.errors import CreditlineError, DataError, IndexMismatchError, SettingsError

QUICK = GenerateConfig(steps=3)


@pytest.fixture
def conditional():
    """A model of three classes whose embeddings differ by much."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(4, 8),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        num_class_embeds=3,
    )
    return UNetDenoiser(unet, DiscreteProcess.from_scheduler(DDPMScheduler()))


def pixels(folder):
    return {p.name: np.asarray(Image.open(p)).astype(int) for p in sorted(folder.glob("*.png"))}


def far(a, b):
    """Largest difference between two folders of images, in levels of 255."""
    assert list(a) == list(b)
    return max(np.abs(a[name] - b[name]).max() for name in a)


def test_a_folder_of_images_and_its_record(tiny_model, tmp_path):
    out = generate(tiny_model, 3, tmp_path / "out", GenerateConfig(steps=3, seed=40))
    assert {p.name for p in out.iterdir()} == {
        "00000.png",
        "00001.png",
        "00002.png",
        "manifest.json",
    }
    assert len(load_images(out)) == 3
    record = read_record(out)
    assert record.details("00002.png") == {
        "seed": 42,
        "sampler": "DDIM",
        "steps": 3,
        "eta": 0.0,
        "model": tiny_model.fingerprint,
    }
    assert not record.trajectory


def test_the_recorded_seed_makes_the_image_again(tiny_model, tmp_path):
    first = generate(tiny_model, 3, tmp_path / "a", GenerateConfig(steps=3, seed=40))
    seed = read_record(first).details("00002.png")["seed"]
    again = generate(tiny_model, 1, tmp_path / "b", GenerateConfig(steps=3, seed=seed))
    assert np.abs(pixels(first)["00002.png"] - pixels(again)["00000.png"]).max() <= 1


def test_images_do_not_depend_on_the_batch_size(tiny_model, tmp_path):
    a = generate(tiny_model, 5, tmp_path / "a", QUICK, batch_size=5)
    b = generate(tiny_model, 5, tmp_path / "b", QUICK, batch_size=2)
    assert far(pixels(a), pixels(b)) <= 1


@pytest.mark.slow
def test_an_interrupted_folder_is_continued(tiny_model, tmp_path, monkeypatch):
    config = GenerateConfig(steps=3, trajectory=True)
    reference = generate(tiny_model, 5, tmp_path / "whole", config, batch_size=2)
    original, calls = sample_module.sample, []

    def stopping(denoiser, seeds, **kwargs):
        calls.append(list(seeds))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(denoiser, seeds, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(sample_module, "sample", stopping)
        with pytest.raises(KeyboardInterrupt):
            generate(tiny_model, 5, tmp_path / "parts", config, batch_size=2)
    (tmp_path / "parts" / "00000.png").unlink()
    monkeypatch.setattr(sample_module, "sample", stopping)
    parts = generate(tiny_model, 5, tmp_path / "parts", config, batch_size=2)
    assert calls[3:] == [[0, 1], [4]]  # batches of which an image was missing
    assert far(pixels(reference), pixels(parts)) == 0
    for name in pixels(reference):
        one, two = (read_trajectory(folder, name)[1] for folder in (reference, parts))
        np.testing.assert_array_equal(one, two)
    generate(tiny_model, 5, tmp_path / "parts", config)
    assert len(calls) == 5  # complete: nothing to do


def test_trajectories_are_kept_on_request(tiny_model, tmp_path):
    out = generate(tiny_model, 2, tmp_path / "out", GenerateConfig(steps=4, trajectory=True))
    timesteps, x0 = read_trajectory(out, "00001.png")
    assert timesteps.tolist() == [750, 500, 250, 0]
    assert x0.shape == (4, 3, 8, 8)
    output = pixels(out)["00001.png"].transpose(2, 0, 1)
    assert np.abs((x0[-1] + 1) * 127.5 - output).max() <= 1  # DDIM's last guess is the image
    assert read_record(out).trajectory
    assert len(load_images(out)) == 2
    (out / "trajectories" / "00001.safetensors").unlink()
    with pytest.raises(DataError, match=r"00001\.png is missing.*--trajectory"):
        read_trajectory(out, "00001.png")


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), SafetensorError("No space left on device")]
)
def test_a_full_disk(tiny_model, tmp_path, monkeypatch, error):
    config = GenerateConfig(steps=2, trajectory=True)
    original, calls = sample_module.save_file, []

    def full(arrays, path, metadata):
        calls.append(path)
        if len(calls) == 2:
            raise error
        original(arrays, path, metadata)

    with monkeypatch.context() as patch:
        patch.setattr(sample_module, "save_file", full)
        with pytest.raises(CreditlineError, match=r"No space left.*again to continue"):
            generate(tiny_model, 3, tmp_path / "out", config)
    assert list(pixels(tmp_path / "out")) == ["00000.png"]
    out = generate(tiny_model, 3, tmp_path / "out", config)
    assert len(pixels(out)) == 3
    read_trajectory(out, "00001.png")


def test_classes(conditional, tmp_path):
    turns = generate(conditional, 4, tmp_path / "turns", QUICK)
    record = read_record(turns)
    assert [record.details(f"0000{i}.png")["label"] for i in range(4)] == [0, 1, 2, 0]
    options = generate(conditional, 4, tmp_path / "chosen", QUICK, labels=[0, 2])
    labels = [read_record(options).details(f"0000{i}.png")["label"] for i in range(4)]
    assert labels == [0, 2, 0, 2]
    a, b = pixels(turns), pixels(options)
    assert np.abs(a["00000.png"] - b["00000.png"]).max() <= 1
    assert np.abs(a["00001.png"] - b["00001.png"]).max() > 1


def test_classes_that_do_not_fit_are_refused(conditional, tiny_model, tmp_path):
    with pytest.raises(SettingsError, match=r"from 0 to 2; got \[3\]"):
        generate(conditional, 1, tmp_path / "out", QUICK, labels=[3])
    with pytest.raises(SettingsError, match="unconditional"):
        generate(tiny_model, 1, tmp_path / "out", QUICK, labels=[0])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("n", "batch_size", "settings", "message"),
    [
        (0, 1, {}, "n must be at least 1"),
        (1, 0, {}, "batch_size must be at least 1"),
        (1, 1, {"steps": 1001}, "1000 timesteps"),
        (2, 1, {"seed": 2**32 - 1}, "Seeds run from 0"),
    ],
)
def test_impossible_requests_leave_no_folder(
    tiny_model, tmp_path, n, batch_size, settings, message
):
    with pytest.raises(SettingsError, match=message):
        generate(tiny_model, n, tmp_path / "out", GenerateConfig(**settings), batch_size=batch_size)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("settings", [{"steps": 0}, {"eta": -0.1}, {"eta": 1.1}, {"seed": -1}])
def test_impossible_settings(settings):
    with pytest.raises(SettingsError, match=next(iter(settings))):
        GenerateConfig(**settings)


def test_other_settings_or_weights_are_refused_until_overwritten(tiny_model, tmp_path):
    out = generate(tiny_model, 2, tmp_path / "out", QUICK)
    before = pixels(out)
    with pytest.raises(IndexMismatchError, match=r"config\.seed: 0 on disk, 9 asked for"):
        generate(tiny_model, 2, out, GenerateConfig(steps=3, seed=9))
    with torch.no_grad():
        tiny_model.module.conv_out.bias.add_(0.5)
    with pytest.raises(IndexMismatchError, match="model"):
        generate(tiny_model, 2, out, QUICK)
    assert far(pixels(out), before) == 0
    generate(tiny_model, 1, out, QUICK, overwrite=True)
    assert list(pixels(out)) == ["00000.png"]


def test_folders_of_others_have_no_record(tmp_path):
    assert read_record(tmp_path / "nowhere") is None
    assert read_record(tmp_path) is None
    for foreign in ({"name": "a web app"}, [1, 2], {"schema": 1, "kind": "run", "status": "x"}):
        (tmp_path / "manifest.json").write_text(json.dumps(foreign))
        assert read_record(tmp_path) is None


@pytest.mark.parametrize("damage", ["cut", "request"])
def test_a_damaged_record_is_not_passed_over(tiny_model, tmp_path, damage):
    out = generate(tiny_model, 1, tmp_path / "out", QUICK)
    path = out / "manifest.json"
    text = path.read_text("utf-8")
    if damage == "cut":
        path.write_text(text[: len(text) // 2])
    else:
        path.write_text(json.dumps({k: v for k, v in json.loads(text).items() if k != "request"}))
    with pytest.raises(CreditlineError, match=r"manifest\.json is damaged"):
        read_record(out)
