"""Tables as autograd has them, and left as they were."""

from __future__ import annotations

import pytest
import torch
from tests.tiny_pipelines import make, random_images

from creditline.diffusion.load import load_model
from creditline.gradients.autograd_engine import AutogradEngine
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.noised_batch import expand
from creditline.gradients.objective import Objective
from creditline.gradients.parameter_tables import ParameterTable, expand_tables
from creditline.gradients.parameters import select_layers
from creditline.gradients.projection.two_sided import TwoSidedProjection

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def model():
    return load_model(make("pixart-alpha"))


@pytest.mark.parametrize("pattern", ["*", "*scale_shift_table"])
@pytest.mark.parametrize("rank", [None, 3])
def test_several_images_in_one_pass(model, rank, pattern):
    layers = select_layers(model.module, pattern)
    two_sided = None if rank is None else TwoSidedProjection(layers, rank, seed=0)
    settings = (model, layers, Objective("simple"), "none", two_sided)
    mine = HookEngine(*settings)
    assert len(mine.tables) == 3
    assert not mine.rest
    noised_images = expand(
        model, model.encode(random_images(), [0, 1, 2]), NoisePlan(timesteps=3), "train"
    )
    for a, b in zip(
        mine.gradients(noised_images),
        AutogradEngine(*settings).gradients(noised_images),
        strict=True,
    ):
        assert torch.linalg.norm(a - b) <= 1e-5 * torch.linalg.norm(b)


def test_the_parameter_is_restored_after_an_error(model):
    before = dict(model.module.named_parameters())
    with (
        pytest.raises(KeyError),
        expand_tables([ParameterTable(model.module, "scale_shift_table")], 2, print),
    ):
        raise KeyError
    after = dict(model.module.named_parameters())
    assert before.keys() == after.keys()
    assert all(after[name] is value for name, value in before.items())
