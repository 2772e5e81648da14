"""Adapters: every way they come, several at once, and those that do not fit."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.tiny_pipelines import make, network_of, peft_folder

from creditline.diffusion.adapters import adapter_parameters
from creditline.diffusion.load import load_model
from creditline.errors import ModelError, SettingsError
from creditline.gradients.parameters import select_layers

peft = pytest.importorskip("peft")


def names(module, pattern):
    return [name for layer in select_layers(module, pattern) for name in layer.parameters]


def predicted(model):
    x = torch.linspace(-1, 1, 256).view(1, 4, 8, 8)
    return model.predict(x, torch.tensor([500]), model.encode_conditions(["a cat"])).detach()


def lora_weights(adapter):
    from safetensors.torch import load_file

    weights = load_file(adapter / "adapter_model.safetensors")
    return {key.removeprefix("base_model.model."): value for key, value in weights.items()}


@pytest.mark.slow
def test_an_adapter_acts_and_has_the_gradient(load):
    plain, tuned = load("sd"), load("sd", lora=True)
    assert not torch.allclose(predicted(plain), predicted(tuned))
    assert plain.fingerprint != tuned.fingerprint
    assert names(plain.module, "trained") == names(plain.module, "*")
    assert set(names(tuned.module, "trained")) == adapter_parameters(tuned.module)
    assert names(tuned.module, "trained") == names(tuned.module, "adapters")
    assert len(names(tuned.module, "*")) > len(names(tuned.module, "trained"))
    with pytest.raises(SettingsError, match="No parameter matches 'adapters'"):
        select_layers(plain.module, "adapters")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mark"), [("sd", "attn2"), ("sd3", "attn."), ("flux", "attn.")])
@pytest.mark.parametrize("lora", [False, True])
def test_cross_attention_only(load, name, mark, lora):
    module = load(name, lora).module
    result = names(module, "cross-attention")
    assert result
    assert all(mark in parameter and ("lora" in parameter) is lora for parameter in result)
    if name == "sd":
        trained = names(module, "trained")
        assert result == [parameter for parameter in trained if "attn2" in parameter]


@pytest.mark.slow
def test_files_that_diffusers_writes_and_kohyas_naming(folder, load, tmp_path):
    from diffusers import StableDiffusionPipeline
    from safetensors.torch import save_file

    expected = predicted(load("sd", lora=True))
    weights = lora_weights(folder("sd")[1])
    config = peft.LoraConfig.from_pretrained(folder("sd")[1])
    diffusers_file, kohya_file = tmp_path / "diffusers", tmp_path / "kohya.safetensors"
    metadata = {"unet_lora_adapter_metadata": config.to_dict()}
    StableDiffusionPipeline.save_lora_weights(diffusers_file, unet_lora_layers=weights, **metadata)
    kohya = {}
    for key, value in weights.items():
        module, _, kind = key.removesuffix(".weight").rpartition(".")
        flat = f"lora_unet_{module.replace('.', '_')}"
        kohya[f"{flat}.lora_{'down' if kind == 'lora_A' else 'up'}.weight"] = value
        kohya[f"{flat}.alpha"] = torch.tensor(float(config.lora_alpha))
    save_file(kohya, kohya_file)
    for source in (diffusers_file, kohya_file):
        model = load_model(folder("sd")[0], lora=source)
        torch.testing.assert_close(predicted(model), expected)
        assert len(names(model.module, "trained")) == len(weights)


@pytest.mark.slow
def test_several_adapters_add_up(folder, load, tmp_path):
    place, first = folder("sd")
    second = peft_folder(make("sd"), tmp_path / "second", rank=3, seed=5)
    both = load_model(place, lora={"mine": first, "yours": second})
    assert both.options["lora"] == {"mine": str(first), "yours": str(second)}
    result = names(both.module, "trained")
    assert {name.split(".")[-2] for name in result} == {"mine", "yours"}
    one = load_model(place, lora={"mine": first})
    assert not torch.allclose(predicted(both), predicted(one))
    for _, layer in both.module.named_modules():
        if hasattr(layer, "adapter_layer_names"):
            layer.set_adapter(["mine"])
    torch.testing.assert_close(predicted(both), predicted(one))
    assert {name.split(".")[-2] for name in names(both.module, "trained")} == {"mine"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd", "dit"])
def test_an_adapter_on_an_object(folder, load, name):
    pipeline = make(name)
    part = "unet" if name == "sd" else "transformer"
    wrapped = peft.PeftModel.from_pretrained(copy.deepcopy(network_of(pipeline)), folder(name)[1])
    model = load_model(type(pipeline)(**{**pipeline.components, part: wrapped.get_base_model()}))
    expected = load(name, lora=True)
    assert len(names(model.module, "trained")) == len(names(expected.module, "trained"))
    bare = load_model(wrapped, pipeline=folder(name)[0])
    inputs = ["a cat"] if name == "sd" else [1]
    x, t = torch.ones(1, 4, 8, 8), torch.tensor([10])
    outputs = [m.predict(x, t, m.encode_conditions(inputs)) for m in (model, bare, expected)]
    torch.testing.assert_close(outputs[0], outputs[2])
    torch.testing.assert_close(outputs[1], outputs[2])


def test_merged_adapters_have_no_gradient(load):
    module = load("sd", lora=True).module
    for _, layer in module.named_modules():
        if hasattr(layer, "adapter_layer_names"):
            layer.merge()
    with pytest.raises(ModelError, match=r"'adapter' is merged.*unfuse_lora"):
        select_layers(module, "trained")


@pytest.mark.slow
def test_adapters_that_do_not_fit_are_refused(folder, tmp_path):
    place, adapter = folder("sd")
    with pytest.raises(ModelError, match=r"does not fit the UNet2DConditionModel: .*size mismatch"):
        load_model(place, lora=folder("sdxl")[1])
    with pytest.raises(ModelError, match="does not fit the DiTTransformer2DModel"):
        load_model(folder("dit")[0], lora=adapter)
    with pytest.raises(ModelError, match="There is no adapter at"):
        load_model(place, lora=tmp_path / "nowhere")
    with pytest.raises(ModelError, match="cannot name an adapter"):
        load_model(place, lora={"my adapter": adapter})
    with pytest.raises(ModelError, match="no LoRA files for a DiTTransformer2DModel"):
        load_model(folder("dit")[0], lora=tmp_path)


@pytest.mark.slow
def test_a_file_of_which_only_a_part_fits_is_refused(folder, tmp_path):
    from safetensors.torch import save_file

    weights = {f"unet.{key}": value for key, value in lora_weights(folder("sd")[1]).items()}
    key = next(iter(weights))
    stray = key.replace(key.split(".")[1], "attic")
    save_file({**weights, stray: weights[key].clone()}, tmp_path / "stray.safetensors")
    with pytest.raises(ModelError, match=rf"it has {len(weights) + 1} tensors"):
        load_model(folder("sd")[0], lora=tmp_path / "stray.safetensors")
    save_file({"text": torch.ones(2)}, tmp_path / "none.safetensors")
    with pytest.raises(ModelError, match=r"1 of its 1 tensors are not of a LoRA adapter"):
        load_model(folder("sd")[0], lora=tmp_path / "none.safetensors")
