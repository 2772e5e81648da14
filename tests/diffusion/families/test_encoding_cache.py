"""Latents and embeddings are computed once, and only for what computed them."""

from __future__ import annotations

import pytest
import torch
from tests.tiny_pipelines import make

import creditline as cl
from creditline.diffusion.encoding_cache import EncodingCache
from creditline.diffusion.load import load_model
from creditline.errors import CreditlineError, IndexMismatchError

SMALL = {"method": "trak", "timesteps": 2, "dim": 32}


def counting(model, monkeypatch):
    """How often the model encodes a image or a prompt."""
    calls = {"images": 0, "prompts": 0}
    encode, prompt = model.codec.encode, model._encode_prompt

    def counted(name, function):
        def call(*args):
            calls[name] += 1
            return function(*args)

        return call

    monkeypatch.setattr(model.codec, "encode", counted("images", encode))
    monkeypatch.setattr(model, "_encode_prompt", counted("prompts", prompt))
    return calls


@pytest.mark.slow
def test_each_image_and_prompt_is_encoded_once(load, captioned, tmp_path, monkeypatch):
    model = load("sd")
    calls = counting(model, monkeypatch)
    shared = tmp_path / "encoded"
    first = cl.index(model, captioned, out=tmp_path / "a", encoded=shared, shard_rows=2, **SMALL)
    assert calls == {"images": 6, "prompts": 5}
    again = cl.index(
        model, captioned, out=tmp_path / "b", encoded=shared, noise_seed=1, shard_rows=2, **SMALL
    )
    assert calls == {"images": 6, "prompts": 5}
    assert first.digest() != again.digest()
    assert model.encoding_cache is None
    alone = cl.index(model, captioned, out=tmp_path / "c", shard_rows=2, **SMALL)
    assert alone.digest() == first.digest()
    assert (shared / "latents").is_dir()
    assert not (tmp_path / "c" / "encoded").exists()  # of no more use, and larger than features


@pytest.mark.slow
def test_latents_of_another_autoencoder_are_refused(load, captioned, tmp_path):
    shared = tmp_path / "encoded"
    cl.index(load("sd"), captioned, out=tmp_path / "a", encoded=shared, **SMALL)
    pipeline = make("sd")
    with torch.no_grad():
        pipeline.vae.quant_conv.bias += 1
    other = {"out": tmp_path / "b", "encoded": shared, **SMALL}
    with pytest.raises(IndexMismatchError, match="another autoencoder") as refusal:
        cl.index(load_model(pipeline), captioned, **other)
    assert not (tmp_path / "b").exists()  # before anything was begun
    assert "text encoders" not in str(refusal.value).replace("or text encoder,", "")
    with pytest.raises(IndexMismatchError, match="autoencoder: "):
        cl.index(load("sd", vae="sample"), captioned, **{**other, "out": tmp_path / "c"})


def test_what_is_there_is_read_and_what_is_damaged_is_computed_again(tmp_path):
    cache = EncodingCache(tmp_path / "kept", {"autoencoder": "x"})
    value = cache.tensors("latents", "abc", lambda: {"x0": torch.ones(2)})
    assert torch.equal(cache.tensors("latents", "abc", dict)["x0"], value["x0"])
    next((tmp_path / "kept").rglob("*.safetensors")).write_bytes(b"no")
    with pytest.warns(match="is damaged"):
        again = cache.tensors("latents", "abc", lambda: {"x0": torch.ones(2)})
    assert torch.equal(again["x0"], value["x0"])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(CreditlineError, match="something other than encoded images"):
        EncodingCache(tmp_path / "other", {})
