"""Each family as a folder on disk, with and without an adapter, and images that it takes."""

from __future__ import annotations

import pytest
from tests.tiny_pipelines import ENCODING, make, peft_folder, random_images

from creditline.diffusion.load import load_model


@pytest.fixture(scope="session")
def captioned():
    """Six random images of 16x16 pixels with captions, classes and contributors."""
    return random_images()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """`folder(name)`: a pipeline saved by diffusers, and an adapter of it saved by PEFT."""
    pytest.importorskip("peft")
    pipelines = {}

    def build(name):
        if name not in pipelines:
            place = tmp_path_factory.mktemp(name)
            pipeline = make(name)
            pipeline.save_pretrained(place / "pipeline")
            pipelines[name] = place / "pipeline", peft_folder(pipeline, place / "adapter")
        return pipelines[name]

    return build


@pytest.fixture
def load(folder):
    """`load(name, lora)`: the model, with or without its adapter."""

    def build(name, lora=False, **encoding):
        pipeline, adapter = folder(name)
        options = {**ENCODING.get(name, {}), **encoding}
        return load_model(pipeline, lora=adapter if lora else None, encoding=options)

    return build
