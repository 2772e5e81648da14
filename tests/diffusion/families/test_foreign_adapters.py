"""Adapters of others: every tensor is used or refused, whatever naming the file has."""

from __future__ import annotations

import copy
import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.diffusion.families.test_adapters import lora_weights, predicted
from tests.tiny_pipelines import ATTENTION, make, network_of, random_images

from creditline.diffusion.load import load_model
from creditline.errors import ModelError
from creditline.gradients.engine_choice import make_engine
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.parameters import select_layers
from creditline.gradients.spec import FeatureSpec

peft = pytest.importorskip("peft")


def dora_folder(pipeline, folder):
    torch.manual_seed(1)
    config = peft.LoraConfig(
        r=2, lora_alpha=4, target_modules=list(ATTENTION), init_lora_weights=False, use_dora=True
    )
    peft.get_peft_model(copy.deepcopy(network_of(pipeline)), config).save_pretrained(folder)
    return folder


def encoder_weights(pipeline):
    config = peft.LoraConfig(
        r=2, lora_alpha=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False
    )
    model = peft.get_peft_model(copy.deepcopy(pipeline.text_encoder), config)
    state = peft.get_peft_model_state_dict(model)
    return {f"text_encoder.{k.removeprefix('base_model.model.')}": v for k, v in state.items()}


@pytest.mark.slow
def test_dora_in_kohyas_naming_is_refused(folder, tmp_path):
    kohya = {}
    for key, value in lora_weights(folder("sd")[1]).items():
        module, _, kind = key.removesuffix(".weight").rpartition(".")
        flat = f"lora_unet_{module.replace('.', '_')}"
        kohya[f"{flat}.lora_{'down' if kind == 'lora_A' else 'up'}.weight"] = value
        if kind == "lora_B":
            kohya[f"{flat}.dora_scale"] = torch.ones(1, value.shape[0])
    save_file(kohya, tmp_path / "dora.safetensors")
    with pytest.raises(ModelError, match=r"DoRA adapter in kohya's naming.*dora_scale.*PEFT"):
        load_model(folder("sd")[0], lora=tmp_path / "dora.safetensors")


@pytest.mark.slow
def test_an_adapter_of_the_text_encoder_alone_is_refused(folder, tmp_path):
    save_file(encoder_weights(make("sd")), tmp_path / "te.safetensors")
    with pytest.raises(ModelError, match=r"changes the text encoder alone.*unet"):
        load_model(folder("sd")[0], lora=tmp_path / "te.safetensors")


@pytest.mark.slow
def test_a_part_for_the_text_encoder_is_said_aloud(folder, load, tmp_path):
    network = {f"unet.{key}": value for key, value in lora_weights(folder("sd")[1]).items()}
    save_file({**network, **encoder_weights(make("sd"))}, tmp_path / "both.safetensors")
    with pytest.warns(UserWarning, match=r"changes the text encoder too.*in the unet alone"):
        model = load_model(folder("sd")[0], lora=tmp_path / "both.safetensors")
    assert model.fingerprint != load("sd", lora=True).fingerprint


@pytest.mark.slow
def test_the_prefix_of_peft_is_dropped(folder, tmp_path):
    weights = lora_weights(folder("sd")[1])
    plain, prefixed = tmp_path / "plain.safetensors", tmp_path / "prefixed.safetensors"
    save_file({f"unet.{key}": value for key, value in weights.items()}, plain)
    save_file({f"unet.base_model.model.{k}": value for k, value in weights.items()}, prefixed)
    models = [load_model(folder("sd")[0], lora=file) for file in (plain, prefixed)]
    torch.testing.assert_close(*map(predicted, models))


@pytest.mark.slow
def test_the_weights_of_a_peft_folder_may_be_named(folder, load, tmp_path):
    place, adapter = folder("sd")
    model = load_model(place, lora=adapter / "adapter_model.safetensors")
    torch.testing.assert_close(predicted(model), predicted(load("sd", lora=True)))
    shutil.copy(adapter / "adapter_model.safetensors", tmp_path / "alone.safetensors")
    with pytest.raises(ModelError, match=r"scale of the adapter is in adapter_config\.json"):
        load_model(place, lora=tmp_path / "alone.safetensors")


@pytest.mark.slow
def test_dora_of_peft_has_the_gradient_of_autograd(folder, tmp_path):
    adapter = dora_folder(make("sd"), tmp_path / "dora")
    model = load_model(folder("sd")[0], lora=adapter)
    layers = select_layers(model.module, "trained")
    assert any("magnitude" in name for layer in layers for name in layer.parameters)
    spec = FeatureSpec(plan=NoisePlan(timesteps=2))
    engine = make_engine(HookEngine, spec, model, layers, None)
    engine.verify(model.encode(random_images(2), [0]))
    left = {name for layer in engine.rest for name in layer.parameters}
    assert left == {name for layer in layers for name in layer.parameters}


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff" * 8, b"\x10" + bytes(7) + b"{" * 16])
def test_damaged_files_of_adapters_are_named(folder, tmp_path, content):
    place, adapter = folder("sd")
    (tmp_path / "a.safetensors").write_bytes(content)
    copied = shutil.copytree(adapter, tmp_path / "peft")
    (copied / "adapter_model.safetensors").write_bytes(content)
    for source in (tmp_path / "a.safetensors", copied):
        with pytest.raises(ModelError, match=r"adapter .* cannot be read: .*from its source again"):
            load_model(place, lora=source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, "of PEFT's type 'IA3', and only LORA"),
        ({"peft_type": ["LORA"]}, "only LORA"),
        ({"r": 10**9}, "says r = 1000000000"),
        ({"r": "2"}, "says r = '2'"),
        ({"lora_alpha": None}, "does not say lora_alpha"),
        ({"target_modules": 5}, "does not fit"),
    ],
)
def test_damaged_configs_of_peft_are_refused(folder, tmp_path, change, message):
    place, adapter = folder("sd")
    copied = shutil.copytree(adapter, tmp_path / "peft")
    config = json.loads((copied / "adapter_config.json").read_text())
    (copied / "adapter_config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(ModelError, match=message):
        load_model(place, lora=copied)


def test_a_folder_of_several_adapters_is_not_guessed(folder, tmp_path):
    for name in ("a", "b"):
        save_file({"unet.x.lora_A.weight": torch.ones(1)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(ModelError, match=r"2 adapters, a\.safetensors, b\.safetensors. Name one"):
        load_model(folder("sd")[0], lora=tmp_path)


@pytest.mark.slow
def test_pickles_and_pipes_are_no_adapters(folder, tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "a.bin")
    with pytest.raises(ModelError, match=r"not safetensors.*--allow-pickle"):
        load_model(folder("sd")[0], lora=tmp_path / "a.bin")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.safetensors")
        with pytest.raises(ModelError, match="not a regular file"):
            load_model(folder("sd")[0], lora=tmp_path / "pipe.safetensors")


def test_other_kinds_of_adapters_are_refused(folder, tmp_path):
    weights = load_file(folder("sd")[1] / "adapter_model.safetensors")
    key, value = next(iter(weights.items()))
    name = f"unet.{key.removeprefix('base_model.model.').removesuffix('.lora_A.weight')}"
    save_file({f"{name}.hada_w1_a": value}, tmp_path / "loha.safetensors")
    with pytest.raises(ModelError, match=r"not of a LoRA adapter, such as unet.*hada_w1_a"):
        load_model(folder("sd")[0], lora=tmp_path / "loha.safetensors")
