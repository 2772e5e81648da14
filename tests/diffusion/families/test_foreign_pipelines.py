"""Model folders of others: variants, shards, custom classes, code of their own."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from safetensors.torch import load_file, save_file
from tests.tiny_pipelines import make

from creditline.diffusion.load import load_model
from creditline.diffusion.tuning.files import base_source
from creditline.errors import ModelError
from creditline.features.encoder import TransformersEncoder
from creditline.stored_json import write_json

CODE = "open('CODE-RAN', 'w').write('x')\n"


@pytest.fixture
def sd(folder, tmp_path, monkeypatch):
    """A copy of the tiny Stable Diffusion; code that runs would leave a file."""
    monkeypatch.chdir(tmp_path)
    yield shutil.copytree(folder("sd")[0], tmp_path / "sd")
    assert not (tmp_path / "CODE-RAN").exists()


def edit(path, **changes):
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, **changes}))


@pytest.mark.parametrize("variant", ["fp16", "bf16", "non_ema"])
@pytest.mark.parametrize("shards", [{}, {"max_shard_size": "2KB"}])
def test_the_only_variant_is_loaded(tiny_model, tmp_path, variant, shards):
    pipeline = DDPMPipeline(unet=tiny_model.module, scheduler=DDPMScheduler())
    pipeline.save_pretrained(tmp_path / "m", variant=variant, **shards)
    files = [path.name for path in (tmp_path / "m" / "unet").iterdir()]
    assert len(files) > 2 or not shards
    assert load_model(tmp_path / "m").fingerprint == tiny_model.fingerprint


@pytest.mark.slow
def test_a_variant_is_a_choice(sd, folder):
    weights = load_file(sd / "unet" / "diffusion_pytorch_model.safetensors")
    doubled = {name: value * 2 for name, value in weights.items()}
    save_file(
        doubled, sd / "unet" / "diffusion_pytorch_model.non_ema.safetensors", {"format": "pt"}
    )
    plain = load_model(sd)
    assert plain.fingerprint == load_model(folder("sd")[0]).fingerprint
    other = load_model(sd, variant="non_ema")
    assert other.options == {"variant": "non_ema"}
    assert other.fingerprint != plain.fingerprint
    with pytest.raises(ModelError, match=r"no weights of the variant 'fp16'; it has 'non_ema', f"):
        load_model(sd, variant="fp16")
    name = "diffusion_pytorch_model"
    (sd / "unet" / f"{name}.safetensors").rename(sd / "unet" / f"{name}.fp16.safetensors")
    with pytest.raises(ModelError, match=r"several variants, 'fp16', 'non_ema'.*--variant"):
        load_model(sd)


def test_weights_of_another_name_are_named(sd):
    weights = sd / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("unet.safetensors"))
    with pytest.raises(ModelError, match=r"holds unet\.safetensors.*diffusion_pytorch_model\.saf"):
        load_model(sd)


def test_a_checkpoint_in_one_file_has_advice(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "v1-5.safetensors")
    with pytest.raises(ModelError, match=r"is a file.*from_single_file"):
        load_model(tmp_path / "v1-5.safetensors")


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize(
    "name", ["weights.bin", "../../evil.safetensors", "/etc/x.safetensors", "a\\b"]
)
def test_shards_are_safetensors_inside_their_folder(sd, part, name):
    weights = next((sd / part).glob("*.safetensors"))
    state = load_file(weights)
    torch.save(state, sd / part / "weights.bin")
    weights.unlink()
    index = {"metadata": {}, "weight_map": dict.fromkeys(state, name)}
    weights.with_name(f"{weights.name}.index.json").write_text(json.dumps(index))
    (sd / part / "x.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"not safetensors.*--allow-pickle|not a file in its fold"):
        load_model(sd)


@pytest.mark.parametrize("value", [None, 5, {"a": 5}, "x"])
def test_damaged_indexes_of_shards_are_refused(sd, value):
    index = sd / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": value}))
    with pytest.raises(ModelError, match="no weight_map"):
        load_model(sd)


def test_a_latent_pipeline_of_another_class_is_no_model_on_pixels(folder, tmp_path):
    place = shutil.copytree(folder("ldm")[0], tmp_path / "m")
    edit(place / "model_index.json", _class_name="MyFacesPipeline")
    with pytest.raises(ModelError, match=r"MyFacesPipeline.* has a vqvae.*Supported.*LDMPipeline"):
        load_model(place)
    pipeline = make("ldm")
    pipeline.__class__ = type("MyFacesPipeline", (type(pipeline),), {})
    with pytest.raises(ModelError, match=r"has a vqvae"):
        load_model(pipeline)


@pytest.mark.parametrize(
    "component", ["vae", "scheduler", "tokenizer", "text_encoder", "unet", "extra"]
)
def test_components_with_code_of_their_own_are_refused(sd, component):
    (sd / component).mkdir(exist_ok=True)
    (sd / component / "evil.py").write_text(CODE)
    edit(sd / "model_index.json", **{component: ["evil", "Evil"]})
    with pytest.raises(ModelError, match=r"evil\.Evil.*code of their own are not loaded"):
        load_model(sd)


@pytest.mark.parametrize(
    "entry",
    [
        ["os", "system"],
        ["diffusers", "DiffusionPipeline"],
        ["transformers", "AutoModel"],
        ["transformers", "pipeline"],
        ["..", "x"],
        [5, "x"],
        ["transformers"],
        "x",
    ],
)
def test_components_are_networks_schedulers_and_tokenizers(sd, entry):
    edit(sd / "model_index.json", tokenizer=entry)
    with pytest.raises(ModelError):
        load_model(sd)


@pytest.mark.parametrize("name", [["pipeline", "X"], 5, None, {"a": 1}, "os", "DiffusionPipeline"])
def test_classes_of_pipelines_are_those_that_are_known(sd, name):
    (sd / "pipeline.py").write_text(CODE)
    edit(sd / "model_index.json", _class_name=name)
    with pytest.raises(ModelError):
        load_model(sd)


def test_a_tokenizer_does_not_bring_its_code(sd):
    (sd / "tokenizer" / "tok.py").write_text(CODE)
    edit(
        sd / "tokenizer" / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["tok.T", "tok.T"]},
        tokenizer_class="T",
    )
    edit(sd / "model_index.json", tokenizer=["transformers", "AutoTokenizer"])
    with pytest.raises(ModelError, match="tokenizer cannot be loaded"):
        load_model(sd)


@pytest.mark.parametrize("length", [float("nan"), "many"])
def test_a_tokenizer_says_how_many_tokens_it_takes(sd, length):
    edit(sd / "tokenizer" / "tokenizer_config.json", model_max_length=length)
    with pytest.raises(ModelError, match=r"model_max_length .*tokenizer_config\.json"):
        load_model(sd).check_prompts(["a cat"])


@pytest.mark.parametrize("steps", [10**9, 10**30, 1e18, float("nan")])
def test_noise_levels_that_take_all_memory_are_refused(sd, steps):
    edit(sd / "scheduler" / "scheduler_config.json", num_train_timesteps=steps)
    with pytest.raises(ModelError, match=r"scheduler_config\.json has num_train_timesteps"):
        load_model(sd)
    with pytest.raises(ModelError, match=r"num_train_timesteps"):
        load_model(sd / "unet", pipeline=sd)


def test_a_text_encoder_does_not_bring_an_adapter(sd):
    (sd / "text_encoder" / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"holds an adapter \(adapter_config\.json\)"):
        load_model(sd)


def test_an_encoder_does_not_bring_its_code(sd, monkeypatch):
    encoder = sd / "text_encoder"
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    edit(encoder / "config.json", auto_map={"AutoModel": "mod.M", "AutoConfig": "mod.C"})
    edit(encoder / "config.json", model_type="evil")
    (encoder / "mod.py").write_text(CODE)
    settings = {"image_processor_type": "P", "auto_map": {"AutoImageProcessor": "mod.M"}}
    (encoder / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=r"Cannot load an encoder.*without code of its own"):
        TransformersEncoder(str(encoder))


@pytest.mark.parametrize(
    "base",
    [
        None,
        5,
        {"source": "x"},
        {"source": 5, "options": {}, "fingerprint": "a"},
        {"source": "x", "options": {"allow_pickle": True}, "fingerprint": "a"},
        {"source": "x", "options": {"dtype": 5}, "fingerprint": "a"},
    ],
)
def test_a_record_grants_nothing(tmp_path, base):
    write_json(tmp_path / "creditline.json", {"base": base})
    with pytest.raises(ModelError, match=r"creditline\.json"):
        base_source(tmp_path, None)
