"""Parameter selection."""

from __future__ import annotations

import pytest
import torch

from creditline.errors import SettingsError
from creditline.gradients.parameters import enable_gradients, select_layers


@pytest.fixture
def net() -> torch.nn.Module:
    linear, norm = torch.nn.Linear, torch.nn.GroupNorm
    return torch.nn.ModuleDict({"attn": linear(3, 4), "norm": norm(1, 4), "out": linear(4, 1)})


def test_all_parameters_grouped_by_module(net):
    layers = select_layers(net)
    assert [(layer.name, layer.size) for layer in layers] == [("attn", 16), ("norm", 8), ("out", 5)]
    assert sum(layer.size for layer in layers) == sum(p.numel() for p in net.parameters())


def test_patterns_include_and_exclude(net):
    assert [layer.parameters for layer in select_layers(net, "attn*,out*,!*bias")] == [
        ("attn.weight",),
        ("out.weight",),
    ]
    assert [layer.name for layer in select_layers(net, "!attn*")] == ["norm", "out"]


def test_shared_parameters_are_counted_once(net):
    net["tied"] = torch.nn.Linear(4, 1)
    net["tied"].weight = net["out"].weight
    assert sum(layer.size for layer in select_layers(net)) == sum(
        p.numel() for p in net.parameters()
    )


def test_an_empty_selection_is_refused_with_some_names(net):
    with pytest.raises(SettingsError, match=r"attn\.weight"):
        select_layers(net, "*cross*")


def test_requires_grad_is_restored_even_after_an_error(net):
    net["out"].weight.requires_grad_(False)
    before = [p.requires_grad for p in net.parameters()]

    def fail():
        with enable_gradients(net, select_layers(net, "out*")):
            assert [p.requires_grad for p in net.parameters()] == [False] * 4 + [True] * 2
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [p.requires_grad for p in net.parameters()] == before
