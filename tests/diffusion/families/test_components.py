"""What a model on latents or prompts needs, and what is said when it is not there."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, DiTTransformer2DModel
from tests.tiny_pipelines import make, vae

from creditline.data.image_set import ImageSet
from creditline.diffusion.generation import generate
from creditline.diffusion.load import load_model
from creditline.errors import DataError, ModelError, SettingsError
from creditline.evaluation.truth.losses import LossPlan, measure_losses


def captioned_with(captioned, texts):
    return ImageSet.from_images(captioned.array()[: len(texts)], texts=texts)


@pytest.fixture
def copy(folder, tmp_path):
    """A pipeline's folder that may be changed."""
    return lambda name: shutil.copytree(folder(name)[0], tmp_path / name)


def test_missing_captions_are_named_before_anything_is_encoded(load, captioned, monkeypatch):
    model = load("sd")
    monkeypatch.setattr(model, "_encode_condition", None)
    with pytest.raises(DataError, match=r"1 of 2 images have none, such as 00001.png.*--caption"):
        model.check(captioned_with(captioned, ["a cat", None]))


def test_a_caption_for_those_that_have_none(load, captioned):
    images = captioned_with(captioned, ["a cat", None])
    model, plain = load("sd", caption="a house"), load("sd")
    model.check(images)
    result = model.encode(images, [0, 1]).condition["encoder_hidden_states"]
    expected = plain.encode_conditions(["a cat", "a house"])["encoder_hidden_states"]
    assert torch.equal(result, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "room"), [("sd", 16), ("pixart-alpha", 120), ("flux", 16)])
def test_long_prompts_are_refused_or_cut(load, captioned, name, room):
    long = "house" * 60
    images = captioned_with(captioned, [long])
    with pytest.raises(DataError, match=rf"tokens, the text encoder takes {room}.*--long-prompts"):
        load(name).check(images)
    model = load(name, long_prompts="cut")
    model.check(images)
    assert model.encode(images, [0]).condition


def test_a_missing_tokenizer_is_named(copy):
    place = copy("sd")
    shutil.rmtree(place / "tokenizer")
    with pytest.raises(ModelError, match=r"lists tokenizer \(CLIPTokenizer\)"):
        load_model(place)
    (place / "tokenizer").mkdir()
    (place / "unet" / "config.json").unlink()  # nothing is loaded before that is seen
    with pytest.raises(ModelError, match="or an empty one"):
        load_model(place)
    pipeline = make("sd")
    pipeline.tokenizer = None
    with pytest.raises(ModelError, match="StableDiffusionPipeline has no tokenizer"):
        load_model(pipeline)


def test_a_tokenizer_without_its_vocabulary_is_refused(copy):
    place = copy("sd")
    for file in (place / "tokenizer").iterdir():
        if file.name != "tokenizer_config.json":
            file.unlink()
    with pytest.raises(ModelError, match=r"tokenizer knows .* text_encoder 74"):
        load_model(place)


def test_a_network_of_another_pipeline_is_refused(folder):
    with pytest.raises(ModelError, match="a DiTPipeline has a DiTTransformer2DModel"):
        load_model(folder("sd")[0] / "unet", pipeline=folder("dit")[0])


def test_a_pipeline_that_is_not_supported_lists_those_that_are(copy):
    place = copy("sd")
    index = json.loads((place / "model_index.json").read_text())
    index["_class_name"] = "KandinskyPipeline"
    (place / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"a KandinskyPipeline, is a .*; supported: .*FluxPip"):
        load_model(place)


@pytest.mark.slow
def test_a_pipeline_object_that_is_not_supported_lists_those_that_are(load):
    from diffusers import StableDiffusionInpaintPipeline

    parts = load("sd").pipeline.components
    with pytest.raises(ModelError, match=r"StableDiffusionInpaintPipeline.*supported: .*LDMPipe"):
        load_model(StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False))


def test_what_is_loaded_takes_no_further_parts(load, folder):
    model = load("sd")
    assert load_model(model) is model
    with pytest.raises(ModelError, match="loaded already"):
        load_model(model, lora=folder("sd")[1])


def test_weights_of_an_autoencoder_are_not_made_up(copy):
    from safetensors.torch import load_file, save_file

    file = copy("sd") / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights.pop("quant_conv.weight")
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(ModelError, match=r"1 are missing.*quant_conv.weight"):
        load_model(file.parent.parent)


@pytest.mark.slow
def test_a_bare_network_takes_its_other_parts_from_a_pipeline(folder, load):
    reference, place = load("sd"), folder("sd")[0]
    with pytest.raises(ModelError, match=r"UNet2DConditionModel reads prompts.*--pipeline"):
        load_model(place / "unet")
    result = load_model(place / "unet", pipeline=place)
    assert result.fingerprint == reference.fingerprint
    assert result.options == {"pipeline": str(place)}
    assert (
        load_model(reference.module, pipeline=reference.pipeline).fingerprint
        == reference.fingerprint
    )
    with pytest.raises(ModelError, match="complete pipeline"):
        load_model(place, pipeline=place)


def test_a_bare_transformer_on_pixels(captioned):
    network = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=3,
        num_layers=1,
        sample_size=16,
        patch_size=4,
        num_embeds_ada_norm=3,
    )
    model = load_model(network, scheduler=DDPMScheduler())
    assert model.sample_shape == model.image_shape == (3, 16, 16)
    model.check(captioned)
    assert torch.equal(model.encode(captioned, [2]).x0, captioned.pixels([2]))
    network.register_to_config(in_channels=4, out_channels=4)
    with pytest.raises(ModelError, match=r"4 channels and comes without an autoencoder"):
        load_model(network, scheduler=DDPMScheduler())


def test_parts_that_do_not_fit_each_other_are_refused():
    pipeline = make("sd")
    pipeline.vae = vae(channels=6)
    with pytest.raises(ModelError, match=r"works on 4 channels, the autoencoder makes 6"):
        load_model(pipeline)
    refiner = make("sdxl")
    refiner.unet.add_embedding.linear_1 = torch.nn.Linear(3, 3)
    with pytest.raises(ModelError, match="SDXL's added conditions"):
        load_model(refiner)


@pytest.mark.slow
def test_images_of_another_side(load, captioned):
    assert load("sd", side=32).image_shape == (3, 32, 32)
    with pytest.raises(ModelError, match="multiple of 4 pixels; got 18"):
        load("dit", side=18)
    with pytest.raises(ModelError, match=r"32x32.*size=32"):
        load("sd", side=32).check(captioned)


def test_a_model_on_pixels_encodes_nothing(tiny_folder):
    with pytest.raises(ModelError, match=r"works on pixels and encodes nothing\. Leave out vae"):
        load_model(tiny_folder, encoding={"vae": "sample"})


@pytest.mark.slow
def test_a_draw_of_the_autoencoder_depends_on_seed_and_image_alone(load, captioned):
    mean, one, two = load("sd"), load("sd", vae="sample"), load("sd", vae="sample", vae_seed=1)
    together = one.encode(captioned, [0, 1, 2]).x0
    assert torch.equal(one.encode(captioned, [2, 0]).x0, together[[2, 0]])
    others = [model.encode(captioned, [0, 1, 2]).x0 for model in (mean, two)]
    assert not any(torch.equal(together, other) for other in others)
    codec, pixels = one.codec, captioned.pixels([0])[0]
    spread = torch.stack([codec.encode(pixels, str(i), torch.device("cpu")) for i in range(400)])
    posterior = codec.vae.encode(pixels[None]).latent_dist
    torch.testing.assert_close(spread.std(0), posterior.std[0] * codec.scale, rtol=0.25, atol=1e-3)
    assert len({model.fingerprint for model in (mean, one, two)}) == 3
    with pytest.raises(ModelError, match="no posterior to draw from"):
        load("ldm", vae="sample")


@pytest.mark.slow
def test_latents_go_back_to_images(load, captioned):
    """The scaling is undone before the autoencoder decodes."""
    for name in ("sd", "sd3", "ldm"):
        codec = load(name).codec
        pixels = captioned.pixels([0])
        z = codec.vae.encode(pixels)
        z = z.latents if name == "ldm" else z.latent_dist.mode()
        result = codec.decode(codec.encode(pixels[0], "x", torch.device("cpu"))[None])
        torch.testing.assert_close(result, codec.vae.decode(z).sample, rtol=1e-4, atol=1e-5)


def test_losses_of_queries_are_measured_on_latents(load, captioned):
    losses = measure_losses(load("sd"), captioned, LossPlan(loss_timesteps=2, loss_draws=1))
    assert losses.shape == (6,)
    assert np.isfinite(losses).all()


@pytest.mark.slow
def test_classes_and_prompts_that_do_not_fit_are_refused(load, captioned, tmp_path):
    with pytest.raises(ModelError, match="conditional on 3 classes"):
        load("dit").check(captioned_with(captioned, [None]))
    with pytest.raises(SettingsError, match="needs prompts"):
        generate(load("sd"), 1, tmp_path / "a")
    with pytest.raises(SettingsError, match="takes no prompts"):
        generate(load("ldm"), 1, tmp_path / "b", prompts="a cat")
    with pytest.raises(DataError, match="tokens"):
        generate(load("sd"), 1, tmp_path / "c", prompts="house" * 9)
