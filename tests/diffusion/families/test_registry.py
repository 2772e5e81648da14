"""The registry finds families, also those of other packages, and says what is supported."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
from diffusers import UNet2DModel

from creditline.diffusion.families import FAMILIES, registry
from creditline.diffusion.families.dit import DiT
from creditline.diffusion.families.pixart import PixArt
from creditline.diffusion.families.pixel import UNetDenoiser
from creditline.diffusion.families.registry import FamilyRegistry
from creditline.diffusion.families.sdxl import StableDiffusionXL
from creditline.diffusion.families.stable_diffusion import StableDiffusion
from creditline.errors import ModelError


class Toy(UNetDenoiser):
    """A family of another package."""

    pipelines = ("ToyPipeline",)
    networks = ("ToyModel",)


@pytest.fixture
def installed(monkeypatch):
    """`installed(value)`: declare an entry point of the group, as another package would."""

    def declare(value):
        entry = EntryPoint("toy", value, registry.GROUP)
        monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
        return FamilyRegistry(*FAMILIES)

    return declare


def test_a_family_of_another_package_is_found(installed):
    families = installed(f"{__name__}:Toy")
    assert families.for_pipeline("ToyPipeline") is families.for_network({"_class_name": "ToyModel"})
    assert families.for_pipeline("ToyPipeline").__name__ == "Toy"
    assert "ToyPipeline" in families.pipelines()
    assert families.for_pipeline("DiTPipeline") is DiT


def test_an_entry_point_that_is_no_family_is_refused(installed):
    with pytest.raises(ModelError, match="not a subclass of NetworkDenoiser"):
        installed("math:sqrt").for_pipeline("ToyPipeline")


@pytest.mark.parametrize(
    ("config", "family"),
    [
        ({"_class_name": "UNet2DModel"}, UNetDenoiser),
        ({"_class_name": "UNet2DConditionModel"}, StableDiffusion),
        (
            {"_class_name": "UNet2DConditionModel", "addition_embed_type": "text_time"},
            StableDiffusionXL,
        ),
        ({"_class_name": "Transformer2DModel", "norm_type": "ada_norm_zero"}, DiT),
        ({"_class_name": "Transformer2DModel", "norm_type": "ada_norm_single"}, PixArt),
        ({"_class_name": "UNet3DConditionModel"}, None),
    ],
)
def test_the_family_of_a_network_follows_from_its_config(config, family):
    assert FAMILIES.for_network(config) is family


def test_every_pipeline_belongs_to_one_family():
    names = FAMILIES.pipelines()
    assert len(names) == len(set(names))
    assert UNet2DModel.__name__ in FAMILIES.for_pipeline("DDPMPipeline").networks
