"""`creditline train` with a base."""

from __future__ import annotations

import numpy as np
import pytest
from tests.tiny_pipelines import make

from creditline.data.image_set import ImageSet
from creditline.diffusion.load import load_model

pytest.importorskip("peft")
SHORT = ("--steps", "2", "--batch-size", "4")
TEMPLATE = ("--prompt-template", "a {label}")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "sd"
    make("sd").save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    images = ImageSet.from_images(
        pixels, labels=[i % 2 for i in range(8)], label_names=["cat", "house"]
    )
    return str(images.save(tmp_path_factory.mktemp("data") / "generated"))


@pytest.mark.slow
def test_a_run_is_a_model(run, base, labeled, tmp_path, small):
    out = tmp_path / "run"
    text = run(
        *("train", labeled, "--out", out, "--base", base, "--lora-rank", "2", *SHORT, *TEMPLATE)
    ).stdout
    assert f"creditline generate {out} -n 16 --prompt TEXT" in text
    assert f"creditline index {out} {labeled} --out INDEX --prompt-template 'a {{label}}'" in text
    run("generate", out, "-n", "2", "--steps", "2", "--prompt", "a cat", "--out", tmp_path / "p")
    run("index", out, labeled, "--out", tmp_path / "i", *TEMPLATE, *small)
    run("trace", tmp_path / "i", tmp_path / "p")
    assert load_model(out).source == str(out)


@pytest.mark.slow
def test_the_whole_of_a_pipeline(run, base, labeled, tmp_path):
    run("train", labeled, "--out", tmp_path / "run", "--base", base, *SHORT, *TEMPLATE)
    assert (tmp_path / "run" / "model" / "model_index.json").is_file()


@pytest.mark.slow
def test_what_does_not_go_together(refused, base, labeled, model, data, tmp_path):
    start = ("train", labeled, "--out", tmp_path / "run")
    tune = (*start, "--base", base, *TEMPLATE)
    assert "--channels: of a network of its own" in refused(*tune, "--channels", "4")
    assert "The preset icons-16 is of a network" in refused(*tune, "--preset", "icons-16")
    assert "--lora-rank must be at least 1; got 0" in refused(*tune, "--lora-rank", "0")
    assert "there is no lora_rank" in refused(*tune, "--lora-alpha", "2")
    assert "its layers end in" in refused(*tune, "--lora-rank", "2", "--lora-targets", "q").lower()
    assert "Give one with --base" in refused(*start, "--lora-rank", "2")
    assert "Give one with --base" in refused(*start, "--preset", "artbench")
    assert "--caption-dropout: of tuning a model" in refused(*start, "--caption-dropout", "0.1")
    assert "--caption is about a base" in refused(*start, "--caption", "a cat")
    assert "--lora is about a base" in refused(*start, "--lora", "file")
    assert "Did you mean 'artbench'" in refused(*tune, "--preset", "artbanch")
    assert "8 of 8 images have none" in refused(*start, "--base", base)
    assert "on pixels and encodes nothing" in refused(
        *("train", data, "--out", tmp_path / "run", "--base", model, "--caption", "a")
    )
    assert not (tmp_path / "run").exists()
