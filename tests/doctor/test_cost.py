"""The estimated cost is that of a real index."""

from __future__ import annotations

import shutil
import time

import numpy as np
import pytest
from tests.tiny_pipelines import make as make_pipeline

import creditline as cl
from creditline.data.image_set import ImageSet
from creditline.doctor import diagnose
from creditline.doctor.cost import check_disk, existing
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.preconditioning import Preconditioning
from creditline.gradients.projection import Projection
from creditline.gradients.spec import FeatureSpec
from creditline.methods import get
from creditline.runtime import Runtime


@pytest.fixture
def measurement(request, monkeypatch):
    """Costs are measured twice, and as often as for a user where they are compared to real ones."""
    if request.node.function is not test_time_of_a_real_index:
        monkeypatch.setattr("creditline.doctor.cost.REPEATS", (2, 2))


@pytest.fixture
def many(tiny_images):
    return tiny_images.subset([i % 12 for i in range(128)])


def folder_bytes(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"dim": 2048, "timesteps": 1}, marks=pytest.mark.long),
        {"dim": 2048, "timesteps": 2},
        pytest.param({"dim": 64, "timesteps": 2}, marks=pytest.mark.long),
        pytest.param(
            {"dim": 256, "timesteps": 2, "method": "gradient-dot"}, marks=pytest.mark.long
        ),
        {"dim": 256, "timesteps": 2, "projection": "principal", "learn_from": 8},
    ],
    ids=["no halves", "halves", "more images than dimensions", "no curvature", "fitted projection"],
)
def test_disk_of_a_real_index(tiny_model, many, examine, tmp_path, settings):
    cost = examine(tiny_model, many, **settings).cost
    index = cl.index(tiny_model, many, out=tmp_path / "index", **settings)
    assert cost.build_bytes == pytest.approx(folder_bytes(index.path), rel=0.1)
    before = folder_bytes(index.path)
    index.trace(many.subset([0]), top=1)
    assert cost.trace_bytes == pytest.approx(folder_bytes(index.path) - before, rel=0.02)


@pytest.mark.slow
def test_latents_and_prompts_do_not_stay(examine, tmp_path):
    model = cl.load_model(make_pipeline("sd"))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)
    images = ImageSet.from_images(pixels, texts=[f"a cat of {'abcd'[i % 4]}" for i in range(40)])
    settings = {"dim": 32, "timesteps": 2}
    cost = examine(model, images, **settings).cost
    index = cl.index(model, images, out=tmp_path / "index", **settings)
    assert not (index.path / "encoded").exists()
    assert cost.build_bytes == pytest.approx(folder_bytes(index.path), rel=0.1)


@pytest.mark.slow
def test_time_of_a_real_index(tiny_model, many, examine, tmp_path):
    many = many.subset(range(64))
    cost = examine(tiny_model, many, timesteps=5).cost
    before = time.process_time()
    cl.index(tiny_model, many, out=tmp_path / "index", dim=128, timesteps=5)
    seconds = time.process_time() - before
    # Loosely: other tests run beside it. tools/check_doctor.py prints how close it comes.
    assert 0.5 * seconds < cost.build_seconds < 2.0 * seconds


@pytest.mark.slow
def test_time_grows_with_timesteps_and_shrinks_with_workers(tiny_model, examine, monkeypatch):
    monkeypatch.setattr("creditline.doctor.cost.cpu_count", lambda: 4)
    few = examine(tiny_model, timesteps=1, n=1000).cost
    many = examine(tiny_model, timesteps=40, n=1000, runtime=Runtime(workers=4)).cost
    assert many.cpu_seconds > 1.2 * few.cpu_seconds
    assert many.hours == pytest.approx((many.start_seconds + many.cpu_seconds * 1000 / 4) / 3600)
    assert few.evaluations == 1


@pytest.mark.slow
def test_workers_beyond_the_cores_do_not_count(tiny_model, examine, monkeypatch):
    monkeypatch.setattr("creditline.doctor.cost.cpu_count", lambda: 2)
    diagnosis = examine(tiny_model, n=1000, runtime=Runtime(workers=8))
    assert diagnosis["workers"].status == "warn"
    cost = diagnosis.cost
    assert cost.hours == pytest.approx((cost.start_seconds + cost.cpu_seconds * 1000 / 2) / 3600)


@pytest.mark.slow
def test_dense_projection_is_timed_in_its_own_groups(tiny_model, examine):
    cost = examine(tiny_model, method="d-trak", projection="gaussian", dim=100, timesteps=1).cost
    assert cost.dim == 100
    assert cost.cpu_seconds > 0


@pytest.mark.slow
def test_curvature_costs_more_the_more_images(tiny_model, examine):
    few, many = (examine(tiny_model, n=n, dim=512).cost for n in (1000, 100_000))
    assert many.trace_seconds > 20 * few.trace_seconds
    plain = examine(tiny_model, n=1000, dim=512, method="gradient-dot").cost
    assert plain.trace_bytes < few.trace_bytes
    assert plain.trace_seconds < few.trace_seconds


@pytest.mark.slow
def test_full_disk_fails(tiny_model, examine, monkeypatch):
    usage = type(shutil.disk_usage("."))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10, 10))
    diagnosis = examine(tiny_model)
    assert diagnosis["disk"].status == "fail"
    between = int(diagnosis.cost.build_bytes + 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, between))
    assert "--no-keep" in check_disk(examine(tiny_model).cost).remedy
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: usage(10**9, 0, int(1.5 * diagnosis.cost.total_bytes))
    )
    assert check_disk(examine(tiny_model).cost).status == "warn"


def test_folder_that_does_not_exist_yet(tmp_path):
    assert existing(tmp_path / "a" / "b") == tmp_path


@pytest.mark.slow
def test_the_cost_of_a_sum_is_that_of_its_terms(tiny_model):
    features = FeatureSpec(
        plan=NoisePlan(timesteps=2),
        projection=Projection("count-sketch", 512),
        preconditioning=Preconditioning("ekfac", preconditioner_draws=64),
        bits=1,
    )
    method = get("combined")(features=features, square_norm_dim=64, square_norm_rank=4)
    ekfac, d_trak = (
        diagnose(tiny_model, method=term, samples=3).cost
        for term in method.feature_terms().values()
    )
    cost = diagnose(tiny_model, method=method, samples=3).cost
    assert cost.dim == 512 + 64
    # Self-influence and the scale of errors are kept once, and are all that EK-FAC keeps.
    assert cost.trace_bytes == pytest.approx(d_trak.trace_bytes)
    # The facts of an image are stored once, and its features with the errors of either set.
    assert cost.image_bytes - ekfac.image_bytes == 2 * (64 + 16)
    fewer = 2 * (64 + 16) - 2 * (512 / 8 + 16)
    assert d_trak.image_bytes - ekfac.image_bytes == pytest.approx(fewer, abs=30)
    assert cost.cpu_seconds > max(ekfac.cpu_seconds, d_trak.cpu_seconds)


@pytest.mark.slow
def test_residuals_are_counted_beside_gradients(tiny_model, many, examine, tmp_path):
    settings = {"method": "das", "dim": 256, "timesteps": 2}
    cost = examine(tiny_model, many, **settings).cost
    index = cl.index(tiny_model, many, out=tmp_path / "index", **settings)
    assert cost.dim == 258
    assert cost.build_bytes == pytest.approx(folder_bytes(index.path), rel=0.1)
    before = folder_bytes(index.path)
    index.trace(many.subset([0]), top=1)
    assert cost.trace_bytes == pytest.approx(folder_bytes(index.path) - before, rel=0.05)
