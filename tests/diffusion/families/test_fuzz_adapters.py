"""Damaged LoRA files, PEFT folders and model folders are refused, or loaded completely."""

from __future__ import annotations

import copy
import itertools
import random
import shutil

import pytest
import torch
from tests.diffusion.families.test_adapters import lora_weights
from tests.mutate import count_refusals, mutate
from tests.tiny_pipelines import make

from creditline.diffusion.adapters import adapter_parameters, load_adapters
from creditline.diffusion.load import load_model

pytest.importorskip("peft")


def adapter_refusals(folder, tmp_path, n):
    """Damage a file in diffusers' naming, and both files of a PEFT folder."""
    from safetensors.torch import save_file

    rng, pipeline, peft_folder = random.Random(3), make("sd"), folder("sd")[1]
    weights = lora_weights(peft_folder)
    single = tmp_path / "lora.safetensors"
    save_file({f"unet.{key}": value for key, value in weights.items()}, single)
    copied = tmp_path / "peft"
    shutil.copytree(peft_folder, copied)
    refused = 0
    for target in (single, copied / "adapter_model.safetensors", copied / "adapter_config.json"):
        intact = target.read_bytes()

        def read(damaged, target=target):
            target.write_bytes(damaged)
            network = copy.deepcopy(pipeline.unet)
            around = type(pipeline)(**{**pipeline.components, "unet": network})
            place = target if target == single else copied
            load_adapters(network, around, {"adapter": str(place)})
            assert len(adapter_parameters(network)) == len(weights)

        inputs = (mutate(intact, rng) for _ in itertools.repeat(None, n // 3))
        refused += count_refusals(inputs, read)
        target.write_bytes(intact)
    return refused


def model_refusals(tiny_folder, tmp_path, n):
    """Damage every file of a model's folder."""
    rng, place = random.Random(4), tmp_path / "model"
    shutil.copytree(tiny_folder, place)
    files = sorted(path for path in place.rglob("*") if path.is_file())
    refused = 0
    for target in files:
        intact = target.read_bytes()

        def read(damaged, target=target):
            target.write_bytes(damaged)
            load_model(place)

        inputs = (mutate(intact, rng) for _ in itertools.repeat(None, n // len(files)))
        refused += count_refusals(inputs, read)
        target.write_bytes(intact)
    return refused


@pytest.mark.slow
def test_damaged_adapters_are_refused_or_loaded_completely(folder, tmp_path):
    assert adapter_refusals(folder, tmp_path, 200) > 50


@pytest.mark.long
def test_ten_thousand_damaged_adapters_are_refused_or_loaded_completely(folder, tmp_path):
    torch.set_num_threads(1)
    assert adapter_refusals(folder, tmp_path, 10_000) > 2500


@pytest.mark.slow
def test_damaged_model_folders_are_refused_or_loaded(tiny_folder, tmp_path):
    assert model_refusals(tiny_folder, tmp_path, 100) > 20


@pytest.mark.long
def test_a_thousand_damaged_model_folders_are_refused_or_loaded(tiny_folder, tmp_path):
    assert model_refusals(tiny_folder, tmp_path, 1000) > 200
