"""Tuning: every family learns, ends the same however it is stopped, and comes back from disk."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.tiny_pipelines import ENCODING, LATENT

from creditline.data.image_set import ImageSet
from creditline.diffusion import training_run as run_module
from creditline.diffusion.encoding_cache import EncodingCache
from creditline.diffusion.generation import generate
from creditline.diffusion.load import checkpoints, learning_rate, load_model
from creditline.diffusion.train import train
from creditline.diffusion.tuning.config import AdapterConfig, TuneConfig
from creditline.diffusion.tuning.task import TuningTask
from creditline.errors import (
    DataError,
    IndexMismatchError,
    ModelError,
    NumericsError,
    SettingsError,
)

pytest.importorskip("peft")

LORA = AdapterConfig(lora_rank=2, lora_alpha=3.0)
SHORT = TuneConfig(LORA, steps=5, batch_size=4, learning_rate=1e-2, seed=3, checkpoint_every=2)
FULL = replace(SHORT, adapter=AdapterConfig())


def predicted(model):
    x = torch.linspace(-1, 1, int(np.prod(model.sample_shape))).view(1, *model.sample_shape)
    inputs = "a cat" if model.takes_prompts else 1 if model.n_classes else None
    return model.predict(x, torch.tensor([500]), model.encode_conditions([inputs])).detach()


def logged(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]


def arrays(folder):
    """Every array of a tuned model by file and name."""
    files = [*folder.glob("*.safetensors"), *folder.glob("[ut]*er*/diff*.safetensors")]
    files += folder.glob("unet/diff*.safetensors")
    result = {(f.name, k): v for f in files for k, v in load_file(f).items()}
    assert result
    return result


def same(a, b):
    left, right = arrays(a), arrays(b)
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.mark.slow
@pytest.mark.parametrize("config", [SHORT, FULL], ids=["lora", "full"])
@pytest.mark.parametrize("name", LATENT)
def test_every_family(folder, load, captioned, tmp_path, name, config):
    base = load(name)
    before = base.fingerprint
    config = replace(
        config,
        flip=True,
        accumulate=2,
        ema=0.5,
        sample_every=5 if name in ("sd", "dit") else 0,
        caption_dropout=0.0 if name == "ldm" else 0.5,
    )
    run = train(captioned, tmp_path / "run", config, base=base)
    assert base.fingerprint == before
    tuned = load_model(run)
    assert tuned.encoding == base.encoding
    assert not torch.allclose(predicted(tuned), predicted(base))
    assert len(checkpoints(run)) == 2
    assert load_model(checkpoints(run)[0]).fingerprint != tuned.fingerprint
    assert learning_rate(run) == logged(run)[-1]["rate"]
    if config.adapter.lora_rank is None:
        assert not (run / "model" / "adapter_config.json").exists()
        kind = type(base.pipeline)
        assert type(kind.from_pretrained(run / "model")).__name__ == kind.__name__
        return
    for file in (run / "model", run / "model" / "pytorch_lora_weights.safetensors"):
        takes = hasattr(base.pipeline, "load_lora_weights")
        if file.is_dir() or takes:
            other = load_model(folder(name)[0], lora=file, encoding=ENCODING.get(name))
            torch.testing.assert_close(predicted(other), predicted(tuned), rtol=0, atol=1e-6)
        else:
            assert not file.exists()


def stop_after(patch, step):
    """A run is interrupted after a step."""
    original = run_module.TrainingRun._step

    def stopping(self):
        loss = original(self)
        if self.state.step == step:
            raise KeyboardInterrupt
        return loss

    patch.setattr(run_module.TrainingRun, "_step", stopping)


@pytest.mark.slow
@pytest.mark.parametrize("config", [SHORT, FULL], ids=["lora", "full"])
@pytest.mark.parametrize("stop", [1, 3])
def test_stopped_and_continued(load, captioned, tmp_path, monkeypatch, config, stop):
    config, base = replace(config, ema=0.5, caption_dropout=0.3, attention_dropout=0.2), load("sd")
    reference = train(captioned, tmp_path / "whole", config, base=base)

    with monkeypatch.context() as patch:
        stop_after(patch, stop)
        with pytest.raises(KeyboardInterrupt):
            train(captioned, tmp_path / "parts", config, base=base)
    parts = train(captioned, tmp_path / "parts", config, base=base)
    assert same(reference / "model", parts / "model")
    assert all(map(same, checkpoints(reference), checkpoints(parts)))
    assert logged(reference) == logged(parts)
    assert not (parts / "state.safetensors").exists()


@pytest.mark.slow
def test_the_gradient_is_that_of_the_loss_by_hand(load, captioned, tmp_path, monkeypatch):
    """The first step's loss and gradient, from the model and its process alone."""
    base, seen = load("sd3"), {}
    original = run_module.TrainingState.advance

    def advance(self):
        seen.setdefault("grads", {n: p.grad.clone() for n, p in self.trained.items()})
        original(self)

    monkeypatch.setattr(run_module.TrainingState, "advance", advance)
    config = replace(FULL, steps=1, batch_size=6, clip=1e9, accumulate=3)
    run = train(captioned, tmp_path / "run", config, base=base)

    order = run_module.TrainingRun._rows(_OrderOnlyTask(captioned, config), 0)
    generator = torch.Generator().manual_seed(run_module.seed_for(config, "noise", 0))
    batch = base.encode(captioned, order)
    noise = torch.randn(batch.x0.shape, generator=generator)
    t = torch.randint(base.process.n_timesteps, (6,), generator=generator)
    sigma = base.process.sigmas[t].float().view(-1, 1, 1, 1)
    base.module.requires_grad_(True)
    output = base.predict((1 - sigma) * batch.x0 + sigma * noise, t, batch.condition)
    loss = (output - (noise - batch.x0)).square().mean()
    loss.backward()
    assert logged(run)[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    for name, parameter in base.module.named_parameters():
        torch.testing.assert_close(seen["grads"][name], parameter.grad, rtol=1e-4, atol=1e-6)


class _OrderOnlyTask:
    """The part of a run that determines the order of images."""

    def __init__(self, images, config):
        self.task, self.config = self, config
        self.images = images


@pytest.mark.slow
def test_parts_checkpointing_and_where_latents_are_kept_change_nothing_but_rounding(
    load, captioned, tmp_path
):
    base = load("sd")
    plain = train(captioned, tmp_path / "plain", SHORT, base=base)
    for i, (changes, options) in enumerate(
        [
            ({"accumulate": 3}, {}),
            ({"gradient_checkpointing": True}, {}),
            ({}, {"encoded": tmp_path / "latents"}),
        ]
    ):
        other = train(captioned, tmp_path / str(i), replace(SHORT, **changes), base=base, **options)
        left, right = arrays(plain / "model"), arrays(other / "model")
        for key, value in left.items():
            torch.testing.assert_close(right[key], value, rtol=1e-3, atol=1e-4)
    assert (tmp_path / "latents" / "encoder.json").is_file()
    assert not (tmp_path / "2" / "encoded").exists()


@pytest.mark.slow
def test_encoded_once(load, captioned, tmp_path, monkeypatch):
    """After the first pass neither the autoencoder nor a text encoder is asked again."""
    base = load("sd")
    train(captioned, tmp_path / "a", SHORT, base=base, encoded=tmp_path / "latents")
    monkeypatch.setattr(type(base.codec), "encode", None)
    monkeypatch.setattr(type(base), "_encode_condition", None)
    train(captioned, tmp_path / "b", SHORT, base=base, encoded=tmp_path / "latents")
    assert same(tmp_path / "a" / "model", tmp_path / "b" / "model")
    another = load("sd", vae="sample")
    with pytest.raises(IndexMismatchError, match="encoded by another autoencoder"):
        train(captioned, tmp_path / "c", SHORT, base=another, encoded=tmp_path / "latents")


def test_what_is_held_of_encodings_is_what_is_on_disk(tmp_path):
    pipelines = []

    def compute():
        pipelines.append(1)
        return {"x": torch.ones(4)}

    held, plain = (
        EncodingCache(tmp_path, {"a": "b"}, memory=20),
        EncodingCache(tmp_path, {"a": "b"}),
    )
    first = held.tensors("latents", "aa", compute)
    assert held.tensors("latents", "aa", compute) is first
    assert held.tensors("latents", "bb", compute) is not held.tensors("latents", "bb", compute)
    assert torch.equal(plain.tensors("latents", "aa", compute)["x"], first["x"])
    assert len(pipelines) == 2


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["caption_dropout", "attention_dropout", "flip", "ema"])
def test_every_setting_takes_effect(load, captioned, tmp_path, setting):
    base = load("sd")
    value = True if setting == "flip" else 0.9
    plain = train(captioned, tmp_path / "a", SHORT, base=base)
    other = train(captioned, tmp_path / "b", replace(SHORT, **{setting: value}), base=base)
    assert not same(plain / "model", other / "model")


@pytest.mark.slow
def test_a_caption_that_is_dropped_is_the_empty_prompt(load, captioned, tmp_path):
    base = load("sd")
    config = replace(SHORT, caption_dropout=1 - 1e-9, steps=2)
    dropped = train(captioned, tmp_path / "a", config, base=base)
    blank = ImageSet.from_images(captioned.array(), texts=[""] * 6)
    empty = train(blank, tmp_path / "b", config, base=base)
    assert same(dropped / "model", empty / "model")


@pytest.mark.slow
def test_half_precision(load, captioned, tmp_path):
    base = load("sd")
    full = train(captioned, tmp_path / "fp32", SHORT, base=base)
    half = train(captioned, tmp_path / "bf16", replace(SHORT, precision="bf16"), base=base)
    assert not same(full / "model", half / "model")
    for a, b in zip(logged(full), logged(half), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=0.03)
    assert all(v.dtype == torch.float32 for v in arrays(half / "model").values())


@pytest.mark.slow
def test_a_gradient_that_overflows_is_computed_again_with_less_of_it(
    load, captioned, tmp_path, monkeypatch
):
    base, config, scales = load("sd"), replace(SHORT, precision="fp16"), []
    small = train(captioned, tmp_path / "small", config, base=base)
    advance = run_module.TrainingState.advance

    def seen(self):
        scales.append(self.scale)
        advance(self)

    monkeypatch.setattr(run_module.TrainingState, "advance", seen)
    monkeypatch.setitem(run_module.SCALE, "fp16", 2.0**60)
    large = train(captioned, tmp_path / "large", config, base=base)
    assert 1 < scales[0] < 2.0**40
    assert sorted(scales, reverse=True) == scales
    for a, b in zip(logged(small), logged(large), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-3)

    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            train(captioned, tmp_path / "parts", config, base=base)
    parts = train(captioned, tmp_path / "parts", config, base=base)
    assert same(large / "model", parts / "model")

    infinite = torch.tensor(float("inf"))
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: infinite)
    with pytest.raises(NumericsError, match=r"norm inf.*lower learning rate"):
        train(captioned, tmp_path / "never", config, base=base)


@pytest.mark.slow
def test_tuning_lowers_the_loss(load, captioned, tmp_path):
    config = replace(SHORT, steps=60, learning_rate=3e-2, batch_size=6, checkpoint_every=0)
    losses = [
        entry["loss"] for entry in logged(train(captioned, tmp_path / "r", config, base=load("sd")))
    ]
    assert np.mean(losses[-15:]) < 0.95 * np.mean(losses[:5])


@pytest.mark.slow
def test_an_adapter_of_a_network_on_pixels(tiny_folder, tiny_images, tmp_path):
    run = train(tiny_images, tmp_path / "run", SHORT, base=tiny_folder)
    generate(run, 2, tmp_path / "images")
    assert load_model(run).fingerprint != load_model(tiny_folder).fingerprint
    with pytest.raises(ModelError, match=r"settings of its own network.*--lora-rank"):
        train(tiny_images, tmp_path / "full", FULL, base=tiny_folder)


@pytest.mark.slow
def test_a_base_that_moved_or_changed(folder, captioned, tmp_path):
    place = tmp_path / "base"
    shutil.copytree(folder("sd")[0], place)
    run = train(captioned, tmp_path / "run", SHORT, base=place)
    before = load_model(run).fingerprint
    shutil.move(place, tmp_path / "moved")
    with pytest.raises(ModelError, match=r"trained on .*base, which does not exist.*--pipeline"):
        load_model(run)
    moved = load_model(run, pipeline=tmp_path / "moved")
    assert moved.fingerprint == before
    assert load_model(run, **moved.options).fingerprint == before
    with pytest.raises(ModelError, match=r"trained on a base .* another process"):
        load_model(run, pipeline=folder("sd-v")[0])


@pytest.mark.slow
def test_what_does_not_fit_is_refused_before_anything_is_written(load, captioned, tmp_path):
    out = tmp_path / "run"
    bare = ImageSet.from_images(captioned.array())
    large = ImageSet.from_images(np.zeros((2, 12, 12, 3), np.uint8), texts=["a", "b"])
    sd, ldm = load("sd"), load("ldm")
    for error, match, images, config, base in [
        (DataError, "6 of 6 images have none.*--caption", bare, SHORT, sd),
        (ModelError, "3 channels of 16x16", large, SHORT, sd),
        (
            SettingsError,
            "caption_dropout leaves out",
            bare,
            replace(SHORT, caption_dropout=0.1),
            ldm,
        ),
        (ModelError, "have label None", bare, SHORT, load("dit")),
        (ModelError, "has adapters already", captioned, SHORT, load("sd", lora=True)),
        (SettingsError, "needs a base model", captioned, SHORT, None),
    ]:
        with pytest.raises(error, match=match):
            train(images, out, config, base=base)
    with pytest.raises(ModelError, match="multiple of 2 pixels; got 15"):
        load("sd", side=15)
    assert not out.exists()


@pytest.mark.slow
def test_each_step_draws_a_caption(load, captioned, tmp_path):
    several = captioned.with_captions([(text, "two ships") for text in captioned.texts])
    sets = {"one": captioned, "none": captioned.with_captions([None] * 6), "two": several}
    runs = {
        name: train(x, tmp_path / name, SHORT, base=load("sd")) / "model"
        for name, x in {**sets, "again": several}.items()
    }
    assert same(runs["one"], runs["none"])
    assert same(runs["two"], runs["again"])
    assert not same(runs["one"], runs["two"])


@pytest.mark.slow
def test_captions_of_a_batch_are_drawn_uniformly(load, captioned):
    texts = (captioned.texts[0], "two ships", "a street")
    task = TuningTask(
        load("sd"),
        captioned.with_captions([texts, *[None] * 5]),
        SHORT,
        torch.device("cpu"),
    )
    generator = torch.Generator().manual_seed(0)
    _, condition = task.batch(np.array([0, 1] * 60), generator)
    rows = condition["encoder_hidden_states"]
    each = task.denoiser.encode_conditions([*texts, captioned.texts[1]])["encoder_hidden_states"]
    counts = [sum(torch.equal(row, text) for row in rows) for text in each]
    assert sum(counts[:3]) == 60
    assert min(counts[:3]) > 10
    assert counts[3] == 60
