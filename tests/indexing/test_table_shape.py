"""A manifest and a table that do not belong together are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

import creditline as cl
from creditline.errors import CreditlineError
from creditline.manifest import NAME
from creditline.stored_json import write_json


@pytest.fixture
def index(tiny_images, tmp_path):
    return cl.index(None, tiny_images, method="pixel-dot", out=tmp_path / "index")


def change(folder, part: str, **values: Any) -> None:
    """Change numbers of a manifest, which has a valid checksum afterwards."""
    manifest = json.loads((folder / NAME).read_text("utf-8"))
    del manifest["checksum"]
    manifest["request"][part].update(values)
    write_json(folder / NAME, manifest)


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("images", {"n": 11}, "describes 11 images, and the table holds 12"),
        ("images", {"n": 10**9}, "describes 1,000,000,000 images, and the table holds 12"),
        ("features", {"dim": 191}, r"feature_0 of fixed_size_list<.*>\[191\], and the table has"),
        ("features", {"dim": 2**31 - 1}, r"feature_0 of .*\[2147483647\]"),
        ("features", {"models": 2}, "a column feature_1 of .*, and the table has none"),
        ("features", {"models": 0}, "10 columns|8 columns, and the table has 10"),
        ("features", {"halves": True}, "a column error_0 of .*, and the table has none"),
        ("features", {"sets": {"a": 100, "b": 91}}, "192 dimensions, and their sets 191"),
    ],
)
def test_sizes_that_contradict_the_table_are_refused(index, tiny_images, part, values, message):
    change(index.path, part, **values)
    with pytest.raises(CreditlineError, match=message):
        cl.open_index(index.path).trace(tiny_images.subset([0]), top=2)
    with pytest.raises(CreditlineError, match=message):
        cl.open_index(index.path).digest()


def test_models_that_have_no_features_are_refused(tiny_model, tiny_images, tmp_path):
    index = cl.index(tiny_model, tiny_images, out=tmp_path / "index", timesteps=1, dim=8)
    record = index.manifest.request["models"][0]
    manifest = json.loads((index.path / NAME).read_text("utf-8"))
    del manifest["checksum"]
    manifest["request"]["models"] = [record, record]
    write_json(index.path / NAME, manifest)
    with pytest.raises(CreditlineError, match="1 models have features, and 2 are named"):
        cl.open_index(index.path, model=tiny_model)
