"""The cost foretold is the cost of a real index."""

from __future__ import annotations

import shutil
import time

import pytest

import creditline as cl
from creditline.doctor.cost import check_disk, existing


@pytest.fixture
def many(tiny_images):
    return tiny_images.subset([i % 12 for i in range(128)])


@pytest.mark.parametrize("timesteps", [1, 2], ids=["no halves", "halves"])
def test_disk_of_a_real_index(tiny_model, many, examine, tmp_path, timesteps):
    settings = {"dim": 2048, "timesteps": timesteps}
    cost = examine(tiny_model, many, **settings).cost
    index = cl.index(tiny_model, many, out=tmp_path / "index", **settings)
    table = sum(f.stat().st_size for f in (index.path / "images.lance").rglob("*") if f.is_file())
    assert cost.n * cost.image_bytes == pytest.approx(table, rel=0.15)
    index.trace(many.subset([0]), top=1)
    stored = sum(f.stat().st_size for f in index.path.rglob("curvature*"))
    assert cost.curvature_bytes == pytest.approx(stored, rel=0.05)


def test_time_of_a_real_index(tiny_model, many, examine, tmp_path):
    many = many.subset(range(64))
    cost = examine(tiny_model, many, timesteps=5).cost
    before = time.process_time()
    cl.index(tiny_model, many, out=tmp_path / "index", dim=128, timesteps=5)
    spent = time.process_time() - before
    assert 0.3 * spent < cost.n * cost.cpu_seconds < 2.0 * spent


def test_time_grows_with_timesteps_and_shrinks_with_workers(tiny_model, examine, monkeypatch):
    monkeypatch.setattr("creditline.doctor.cost.cpu_count", lambda: 4)
    few = examine(tiny_model, timesteps=1, n=1000).cost
    many = examine(tiny_model, timesteps=500, n=1000, workers=4).cost
    assert many.cpu_seconds > 1.2 * few.cpu_seconds
    assert many.hours == pytest.approx(many.cpu_seconds * 1000 / 4 / 3600)
    assert few.evaluations == 1


def test_workers_beyond_the_cores_are_not_reckoned_with(tiny_model, examine, monkeypatch):
    monkeypatch.setattr("creditline.doctor.cost.cpu_count", lambda: 2)
    diagnosis = examine(tiny_model, n=1000, workers=8)
    assert diagnosis["workers"].status == "warn"
    assert diagnosis.cost.hours == pytest.approx(diagnosis.cost.cpu_seconds * 1000 / 2 / 3600)


def test_dense_projection_is_timed_in_its_own_groups(tiny_model, examine):
    cost = examine(tiny_model, projection="gaussian", dim=100, timesteps=1).cost
    assert cost.dim == 100
    assert cost.cpu_seconds > 0


def test_only_ridge_methods_have_curvature(tiny_model, examine):
    assert examine(tiny_model, method="trak").cost.curvature_bytes > 0
    cost = examine(tiny_model, method="gradient-dot").cost
    assert cost.curvature_bytes == cost.curvature_seconds == 0
    assert "curvature" not in str(cost)


def test_full_disk_fails(tiny_model, examine, monkeypatch):
    usage = type(shutil.disk_usage("."))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10, 10))
    diagnosis = examine(tiny_model)
    assert diagnosis["disk"].status == "fail"
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: usage(10**9, 0, int(1.5 * diagnosis.cost.total_bytes))
    )
    assert check_disk(examine(tiny_model).cost).status == "warn"


def test_folder_that_does_not_exist_yet(tmp_path):
    assert existing(tmp_path / "a" / "b") == tmp_path
