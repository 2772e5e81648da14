"""Where an adapter goes, and how large it is."""

from __future__ import annotations

import pytest
import torch

from creditline.diffusion.tuning.adapter import adapter_size, add_adapter
from creditline.diffusion.tuning.config import AdapterConfig
from creditline.diffusion.tuning.presets import TUNING_PRESETS
from creditline.errors import ModelError

pytest.importorskip("peft")


def stable_diffusion_1():
    """The denoiser of Stable Diffusion 1.x, of shapes alone."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return UNet2DConditionModel(sample_size=32, cross_attention_dim=768)


@pytest.mark.slow
def test_the_papers_adapter_has_as_many_parameters_as_theirs():
    module = stable_diffusion_1()
    assert sum(p.numel() for p in module.parameters()) == 859_520_964  # as published
    add_adapter(module, TUNING_PRESETS["artbench"].adapter)
    assert adapter_size(module) == 25_509_888
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == 25_509_888


def test_an_adapter_of_rank_r_on_a_layer_has_r_times_its_sides():
    module = stable_diffusion_1()
    add_adapter(module, AdapterConfig(lora_rank=3, lora_targets=("conv_in", "attn2.to_k")))
    names = [name for name, p in module.named_parameters() if p.requires_grad]
    keys = [n for n in names if n.endswith("attn2.to_k.lora_A.tuned.weight")]
    assert len(keys) == 16
    assert len(names) == 2 * (1 + len(keys))
    sizes = {n: p.numel() for n, p in module.named_parameters() if p.requires_grad}
    assert sizes["conv_in.lora_A.tuned.weight"] == 3 * 4 * 9
    assert all(sizes[name] == 3 * 768 for name in keys)


def test_layers_that_are_not_there(load):
    module = load("sd").module
    with pytest.raises(ModelError, match=r"called 'to_z'.*to_q, to_k, to_v, to_out\.0"):
        add_adapter(module, AdapterConfig(lora_rank=2, lora_targets=("to_q", "to_z")))
    with pytest.raises(ModelError, match=r"no attention projections.*--lora-targets"):
        add_adapter(torch.nn.Sequential(torch.nn.Linear(2, 2)), AdapterConfig(lora_rank=2))
    add_adapter(module, AdapterConfig(lora_rank=2))
    with pytest.raises(ModelError, match="base has adapters already"):
        add_adapter(module, AdapterConfig(lora_rank=2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("sd", {"to_q", "to_k", "to_v", "to_out"}),
        ("dit", {"to_q", "to_k", "to_v", "to_out"}),
        (
            "sd3",
            {"to_q", "to_k", "to_v", "to_out"}
            | {"add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"},
        ),
    ],
)
def test_attention_is_what_an_adapter_is_on(load, name, ends):
    module = load(name).module
    add_adapter(module, AdapterConfig(lora_rank=2))
    trained = [n.split(".lora_")[0] for n, p in module.named_parameters() if p.requires_grad]
    result = {n.removesuffix(".0").rpartition(".")[2] for n in trained}
    assert result == ends


@pytest.mark.slow
def test_a_fresh_adapter_changes_nothing_and_depends_on_the_seed_alone(load):
    plain, draws = load("sd"), []
    x, t = torch.linspace(-1, 1, 256).view(1, 4, 8, 8), torch.tensor([500])
    for seed in (1, 1, 2):
        model = load("sd")
        torch.manual_seed(seed)
        add_adapter(model.module, AdapterConfig(lora_rank=2))
        w = model.encode_conditions(["cat"])
        assert torch.equal(model.predict(x, t, w), plain.predict(x, t, w))
        draws.append([p.clone() for p in model.module.parameters() if p.requires_grad])
    same, other = (
        [torch.equal(a, b) for a, b in zip(draws[0], draws[i], strict=True)] for i in (1, 2)
    )
    assert all(same)
    assert not all(other)
