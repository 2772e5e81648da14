"""Networks without weights do what those with weights do."""

from __future__ import annotations

import json

import pytest
import torch
from tests.tiny_pipelines import ENCODING, MAKERS, make, network_of

import creditline as cl
from creditline.doctor.meta_model import build_meta_model
from creditline.errors import ModelError, SettingsError
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.noised_batch import expand

PAPER = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 32,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
"""Settings of Stable Diffusion 1.x's UNet at 256 pixels that differ from diffusers' defaults."""


def write(config, folder):
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


@pytest.mark.slow
def test_the_papers_adapter_has_its_parameters(tmp_path):
    meta = build_meta_model(write(PAPER, tmp_path), lora_rank=128)
    assert meta.adapters == 25_509_888
    assert meta.adapted == 128
    assert meta.parameters == 859_520_964


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_conditions_are_those_of_the_pipeline(name, random_image, tmp_path):
    pipeline = make(name)
    pipeline.save_pretrained(tmp_path)
    for weights in tmp_path.rglob("*.safetensors"):
        weights.unlink()
    encoding = ENCODING.get(name, {})
    model = cl.load_model(pipeline, encoding=encoding)
    batch = model.encode(random_image(model), [0])
    probe = expand(model, batch, NoisePlan("random", timesteps=1), "train")[0]
    tokens = probe.condition.get("encoder_hidden_states", torch.zeros(1, 1, 1)).shape[1]
    meta = build_meta_model(tmp_path, side=encoding.get("side"), prompt_tokens=tokens)
    assert meta.denoiser.sample_shape == model.sample_shape
    assert meta.parameters == sum(p.numel() for p in network_of(pipeline).parameters())
    with meta.mode:
        shadow = meta.probe(1)
        output = meta.denoiser.predict(shadow.x0, shadow.t, shadow.condition)
    assert output.shape == probe.x0.shape
    for key, value in probe.condition.items():
        assert shadow.condition[key].shape == value.shape, key


def test_what_cannot_be_built_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"config\.json"):
        build_meta_model(tmp_path)
    with pytest.raises(ModelError, match="Kandinsky"):
        build_meta_model(write({"_class_name": "Kandinsky"}, tmp_path))
    plain = {"_class_name": "UNet2DModel", "sample_size": 8, "block_out_channels": [8, 8]}
    plain |= {"down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2}
    plain |= {"norm_num_groups": 4, "add_attention": False}
    place = write(plain, tmp_path)
    with pytest.raises(SettingsError, match="no attention"):
        build_meta_model(place, lora_rank=4)
    with pytest.raises(SettingsError, match="at least 1"):
        build_meta_model(place, lora_rank=0)
