"""Passes as large as a bound of memory allows: measured, obeyed, and without effect on features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from tests.device import of_cpus
from tests.small_projection import small_projection

from creditline.errors import SettingsError
from creditline.features.gradients import GradientExtractor
from creditline.gradients import pass_size
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.noised_batch import expand
from creditline.gradients.pass_size import largest_pass
from creditline.gradients.projection import Projection
from creditline.gradients.spec import FeatureSpec

KINDS = [("two-sided", "hooks"), ("count-sketch", "autograd")]


def source(model, kind=KINDS[0], **more):
    projection, engine = kind
    spec = FeatureSpec(
        plan=NoisePlan(timesteps=3),
        projection=small_projection(projection),
        engine=engine,
        **more,
    )
    return GradientExtractor([model], spec)


def noised(model, images):
    return expand(model, model.encode(images, [0]), NoisePlan(timesteps=1), "train")[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bound", [2e6, 8e6])
def test_the_peak_stays_within_the_limit_and_fills_it(tiny_model, tiny_images, kind, bound):
    (engine,) = source(tiny_model, kind).engines
    one = noised(tiny_model, tiny_images)
    size = largest_pass(engine, one, bound)
    assert 1 < size < 64
    assert 0.4 * bound < pass_size._peak(engine, one, size, pass_size._backward) <= bound


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, ("count-sketch", "hooks")])
def test_a_pass_frees_everything_but_its_result(tiny_model, tiny_images, kind):
    (engine,) = source(tiny_model, kind).engines
    one = noised(tiny_model, tiny_images)
    with pass_size._Ledger(engine.denoiser.module) as ledger:
        pass_size._backward(engine, one)
        live = ledger.live  # what is drawn once and kept
        for _ in range(3):
            pass_size._backward(engine, one)
            assert ledger.live == live


def test_bytes_are_counted_while_tensors_live():
    module = torch.nn.Linear(1000, 10)
    with pass_size._Ledger(module) as ledger:
        a = torch.zeros(1000)
        b = a.view(10, 100)[3] + 1
        del a, b
        for _ in range(5):
            torch.ones(500)
        module.weight.t().contiguous()
    assert ledger.peak == 4 * 10_000
    assert ledger.live == 0


@pytest.mark.slow
def test_the_measured_size_is_the_same_at_every_call(tiny_model, tiny_images):
    (engine,) = source(tiny_model).engines
    one = noised(tiny_model, tiny_images)
    assert len({largest_pass(engine, one, 5e6) for _ in range(3)}) == 1
    assert engine.microbatch == 1, "as it was"


@pytest.mark.slow
@of_cpus
def test_an_extractor_sizes_passes_before_the_first_gradient(tiny_model, tiny_images):
    mine = source(tiny_model, pass_memory="3MB")
    mine.check(tiny_images)
    assert 1 < mine.engines[0].microbatch < 64
    late = source(tiny_model, pass_memory="3MB")
    late.extract(tiny_images, [5])
    assert late.engines[0].microbatch == mine.engines[0].microbatch
    plenty = source(tiny_model)
    plenty.check(tiny_images)
    assert plenty.engines[0].microbatch == pass_size.MOST_ON_CPU


def test_a_given_batch_size_is_used_without_measuring(tiny_model, tiny_images, monkeypatch):
    monkeypatch.setattr(
        "creditline.features.gradients.largest_pass", lambda *_: pytest.fail("measured")
    )
    mine = source(tiny_model, batch_size=5, pass_memory="1kB")
    mine.check(tiny_images)
    assert mine.engines[0].microbatch == 5


@pytest.mark.slow
def test_features_do_not_depend_on_the_pass_size(tiny_model, tiny_images):
    features = [
        source(tiny_model, **more).extract(tiny_images, range(4))
        for more in ({}, {"pass_memory": "2MB"}, {"batch_size": 1})
    ]
    for other in features[1:]:
        assert_allclose(
            other, features[0], rtol=0, atol=1e-6 * np.linalg.norm(features[0], axis=-1).max()
        )


def test_a_limit_below_one_evaluation_is_refused_with_the_numbers(tiny_model, tiny_images):
    with pytest.raises(SettingsError, match=r"One evaluation .* takes .*kB.*10\.0 kB.*--pass-mem"):
        source(tiny_model, pass_memory="10kB").check(tiny_images)


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"batch_size": 0}, "at least 1"), ({"pass_memory": "much"}, "Try 4GB")],
)
def test_bad_settings(settings, word):
    with pytest.raises(SettingsError, match=word):
        FeatureSpec(**settings)


@pytest.mark.slow
def test_passes_are_measured_for_each_model(tiny_model, tiny_images):
    spec = FeatureSpec(projection=Projection("two-sided", 128, rank=6), pass_memory="3MB")
    mine = GradientExtractor([tiny_model, tiny_model], spec)
    mine.check(tiny_images)
    sizes = {engine.microbatch for engine in mine.engines}
    assert all(isinstance(engine, HookEngine) for engine in mine.engines)
    assert len(sizes) == 1
    assert sizes != {1}


@pytest.mark.slow
@of_cpus
def test_a_pass_on_a_cpu_fits_its_caches(tiny_model, tiny_images, monkeypatch):
    (engine,) = source(tiny_model).engines
    one = noised(tiny_model, tiny_images)
    _, each = pass_size.measure_pass(engine, one)
    monkeypatch.setattr(pass_size, "READ", 0)
    for factor, expected in ((20.5, 20), (3, pass_size.FEW), (1e6, pass_size.MOST_ON_CPU)):
        monkeypatch.setattr(pass_size, "CACHED", factor * each)
        assert largest_pass(engine, one, 1e12) == expected
    monkeypatch.setattr(pass_size, "CACHED", each)
    weights = sum(4 * p.numel() for p in tiny_model.module.parameters())
    monkeypatch.setattr(pass_size, "READ", 30 * each / weights)
    assert largest_pass(engine, one, 1e12) == 31
    monkeypatch.setattr(pass_size, "READ", 0)
    assert largest_pass(engine, one, 5 * each) < pass_size.FEW
