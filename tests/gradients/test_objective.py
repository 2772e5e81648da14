"""Objectives against their formulas."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from creditline.errors import SettingsError
from creditline.gradients.objective import Objective, ObjectiveName


@pytest.fixture
def case(tiny_model):
    generator = torch.Generator().manual_seed(0)
    shape = (4, *tiny_model.sample_shape)
    output, x0, noise = (torch.randn(shape, generator=generator) for _ in range(3))
    return tiny_model.process, output, x0, noise, torch.tensor([0, 250, 500, 999])


def value(case, *args, **kwargs) -> torch.Tensor:
    return Objective(*args, **kwargs)(*case)


def test_formulas(case):
    _, output, _, noise, _ = case
    o, y = output.flatten(1), noise.flatten(1)
    expected = {
        "simple": ((o - y) ** 2).mean(1),
        "square-norm": (o**2).mean(1),
        "average": o.mean(1),
    }
    for name, result in expected.items():
        torch.testing.assert_close(value(case, name), result)
    torch.testing.assert_close(value(case, "interpolation", eta=0.3), ((o - 0.3 * y) ** 2).mean(1))


@pytest.mark.parametrize("p", [1.0, 2.0, 3.5, math.inf])
def test_p_norms(case, p):
    o = case[1].flatten(1)
    if math.isinf(p):
        expected = o.abs().max(1).values
        scaled = expected
    else:
        expected = (o.abs() ** p).sum(1) ** (1 / p)
        scaled = (o.abs() ** p).mean(1) ** (1 / p)
    torch.testing.assert_close(value(case, "p-norm", p=p, reduction="sum"), expected)
    torch.testing.assert_close(value(case, "p-norm", p=p), scaled)


def test_sum_is_mean_times_elements(case):
    d = case[1][0].numel()
    for name in ("simple", "square-norm", "average", "interpolation", "elbo"):
        torch.testing.assert_close(
            value(case, name, reduction="sum"), d * value(case, name), rtol=1e-5, atol=1e-5
        )


def test_elbo_is_the_weighted_simple_objective_for_epsilon_prediction(case):
    process, *_, t = case
    assert process.prediction == "epsilon"
    torch.testing.assert_close(
        value(case, "elbo"), process.elbo_weight(t).float() * value(case, "simple")
    )


def test_epsilon_space_changes_nothing_for_epsilon_prediction(case):
    torch.testing.assert_close(
        value(case, "square-norm", space="epsilon"), value(case, "square-norm")
    )


def test_half_precision_outputs_are_reduced_in_float32(case):
    process, output, x0, noise, t = case
    half = Objective("square-norm")(process, output.half() * 200, x0.half(), noise.half(), t)
    assert half.dtype == torch.float32
    assert torch.isfinite(half).all()


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"objective": "square"}, "square-norm"),
        ({"reduction": "avg"}, "mean"),
        ({"space": "noise"}, "epsilon"),
        ({"p": 0.5}, "p must be at least 1"),
        ({"eta": float("nan")}, "finite"),
    ],
)
def test_bad_settings(settings, word):
    with pytest.raises(SettingsError, match=word):
        Objective(**settings)


def test_every_registered_objective_runs(case):
    for name in get_args(ObjectiveName):
        assert value(case, name).shape == (4,)
