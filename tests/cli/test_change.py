"""`creditline add`, `remove` and `search`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import creditline as cl
from creditline.data.image_set import ImageSet


@pytest.fixture
def copied(index, tmp_path) -> str:
    return shutil.copytree(index, tmp_path / "copy")


@pytest.mark.slow
def test_added_and_removed_again(run, copied, index, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    more = ImageSet.from_images(pixels, names=[f"new{i}.png" for i in range(3)])
    more.save(tmp_path / "more")
    text = run("add", copied, tmp_path / "more", "--limit", "2", "--workers", "1").stdout
    assert "2 added to 10, now 12 images" in text
    assert cl.open_index(copied).store.facts()["name"][-2:] == ["new0.png", "new1.png"]
    assert "added 2" in run("info", copied).stdout
    text = run("remove", copied, "new1.png", "new0.png", "--purge").stdout
    assert "2 removed, now 10 images" in text
    assert cl.open_index(copied).digest() == cl.open_index(index).digest()


def test_refusals(refused, copied, data):
    assert "no image 'nobody.png'" in refused("remove", copied, "nobody.png")
    assert "images.lance" not in refused("add", copied, data + "/nothing")


@pytest.mark.slow
def test_a_search_is_the_top_of_a_trace(run, refused, index, generated, tmp_path):
    run("trace", index, generated, "--top", "3", "--csv", tmp_path / "trace.csv")
    text = run("search", index, generated, "--top", "3", "--csv", tmp_path / "search.csv").stdout
    assert "00001.png" in text
    assert "artist" in text
    traced, result = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("trace", "search"))
    traced = traced[traced["list"] == "proponents"].reset_index(drop=True)
    assert result["row"].tolist() == traced["row"].tolist()
    assert result["name"].tolist() == traced["name"].tolist()
    np.testing.assert_allclose(result["score"], traced["score"], rtol=1e-4)
    assert "--overwrite" in refused("search", index, generated, "--csv", tmp_path / "search.csv")
    ends = run("search", index, generated, "--top", "1", "--opponents").stdout
    assert " -" in ends


@pytest.mark.slow
def test_what_cannot_be_searched(refused, index, generated):
    message = refused("search", index, generated, "--approximate")
    assert "at least 1,024 images; got 10" in message
    message = refused(
        "search", index, generated, "--transform", "threshold", "--threshold-unit", "error"
    )
    assert "ranks by more than an inner product" in message
    message = refused("search", index, generated, "--method", "journey-trak", "--per-timestep")
    assert "Use trace" in message


@pytest.mark.slow
def test_without_keeping_no_factors_are_written(run, copied, generated):
    stored = run("trace", copied, generated, "--csv", f"{copied}-kept.csv").stdout
    assert list(Path(copied).glob("fitted/*/factors-*"))
    shutil.rmtree(Path(copied) / "fitted")
    bare = run("trace", copied, generated, "--no-keep", "--csv", f"{copied}-bare.csv").stdout
    assert not list(Path(copied).glob("fitted/*/factors-*"))
    assert stored.splitlines()[:4] == bare.splitlines()[:4]
    a, b = (pd.read_csv(f"{copied}-{name}.csv") for name in ("kept", "bare"))
    np.testing.assert_allclose(a["score"], b["score"], rtol=1e-4)
    np.testing.assert_allclose(a["error"], b["error"], rtol=1e-4)


@pytest.mark.slow
def test_memory_that_does_not_suffice(refused, copied, generated):
    shutil.rmtree(Path(copied) / "fitted", ignore_errors=True)
    assert "Allow more" in refused("trace", copied, generated, "--memory", "1000")
