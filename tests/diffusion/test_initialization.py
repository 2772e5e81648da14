"""A training from the weights of a trained model."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from creditline.diffusion.load import load_model
from creditline.diffusion.train import train
from creditline.diffusion.training_run import TrainingRun
from creditline.errors import IndexMismatchError, ModelError


@pytest.fixture
def short(plain_config):
    return replace(plain_config, steps=2, checkpoint_every=0)


@pytest.fixture
def base(tiny_images, short, tmp_path):
    return train(tiny_images, tmp_path / "base", short)


@pytest.mark.slow
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_without_learning_the_base_comes_back(base, tiny_images, short, tmp_path, ema, weights):
    still = replace(short, learning_rate=1e-30, ema=ema, seed=8)
    run = train(tiny_images, tmp_path / "tuned", still, base=base)
    tuned, before = (
        load_file(folder / "model" / "unet" / "diffusion_pytorch_model.safetensors")
        for folder in (run, base)
    )
    for name, value in before.items():
        torch.testing.assert_close(tuned[name], value, rtol=2e-7, atol=0)
    if not ema:
        assert weights(run / "model") == weights(base / "model")


@pytest.mark.slow
def test_a_folder_and_an_object_are_the_same_base(base, tiny_images, short, tmp_path, weights):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    a = train(tiny_images, tmp_path / "a", short, base=base)
    assert torch.equal(torch.rand(3), expected)
    b = train(tiny_images, tmp_path / "b", short, base=load_model(base))
    c = train(tiny_images, tmp_path / "c", short)
    assert weights(a / "model") == weights(b / "model") != weights(c / "model")


@pytest.mark.slow
def test_an_interrupted_run_continues_from_its_state_and_not_from_the_base(
    base, tiny_images, short, tmp_path, weights, monkeypatch
):
    reference = train(tiny_images, tmp_path / "whole", replace(short, steps=4), base=base)
    original, steps_taken = TrainingRun._step, []

    def interrupted(self):
        if len(steps_taken) == 2:
            raise KeyboardInterrupt
        steps_taken.append(self.state.step)
        return original(self)

    monkeypatch.setattr(TrainingRun, "_step", interrupted)
    part = tmp_path / "part"
    with pytest.raises(KeyboardInterrupt):
        train(tiny_images, part, replace(short, steps=4), base=base)
    monkeypatch.undo()
    assert weights(train(tiny_images, part, replace(short, steps=4), base=base) / "model") == (
        weights(reference / "model")
    )


@pytest.mark.slow
def test_the_base_belongs_to_the_request_only_if_there_is_one(base, tiny_images, short, tmp_path):
    run = train(tiny_images, tmp_path / "run", short, base=base)

    def request(folder):
        return json.loads((folder / "manifest.json").read_text("utf-8"))["request"]

    assert request(run)["base"] == {"fingerprint": load_model(base).fingerprint}
    assert set(request(base)) == {"config", "images"}
    with pytest.raises(IndexMismatchError, match="base"):
        train(tiny_images, run, short)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta_schedule": "scaled_linear"}, "process.betas"),
        ({"prediction": "v_prediction"}, "prediction: 'epsilon' in the base, 'v_prediction' asked"),
        ({"channels": (8, 8)}, r"block_out_channels: \[4, 8\] in the base, \[8, 8\] asked for"),
        ({"classes": 2}, "num_class_embeds"),
    ],
)
def test_another_network_is_refused(base, labeled_images, short, tmp_path, changes, message):
    unet = {k: v for k, v in changes.items() if k in ("channels", "classes")}
    rest = {k: v for k, v in changes.items() if k not in unet}
    other = replace(short, unet=replace(short.unet, **unet), **rest)
    images = labeled_images.subset([0, 1, 3, 4])  # classes 0 and 1
    with pytest.raises(ModelError, match=message):
        train(images, tmp_path / "run", other, base=base)
    assert not (tmp_path / "run").exists()
