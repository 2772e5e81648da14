"""`--region`, `--mask` and `--masks`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def mask(tmp_path) -> str:
    path = tmp_path / "mask.png"
    Image.fromarray(np.repeat([[255] * 4 + [0] * 4], 8, axis=0).astype(np.uint8)).save(path)
    return str(path)


@pytest.mark.slow
def test_a_box_and_its_mask_give_the_same_trace(run, index, generated, mask, tmp_path):
    image, result = f"{generated}/00000.png", []
    for option in (("--region", "0,0,0.5,1"), ("--mask", mask)):
        out = tmp_path / f"{option[0][2:]}.json"
        text = run("trace", index, image, *option, "--json", out).stdout
        assert "a region, 50 % of the image's area" in text
        result.append(json.loads(out.read_text())["queries"])
    assert result[0] == result[1]
    rows = run("search", index, image, "--region", "0,0,0.5,1", "--top", "1").stdout
    assert result[0][0]["proponents"][0]["name"] in rows


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--region", "0,0,1"), "not four numbers"),
        (("--region", "0,0,8,8"), "divide pixels by the size"),
        (("--region", "0,0,1,1", "--mask", "x.png"), "Give one of them"),
        (("--mask", "x.png"), "does not exist"),
        (("--region", "0,0,1,1") * 3, "need one region, or 2; got 3"),
    ],
)
def test_regions_that_are_none(refused, index, generated, options, said):
    for command in ("trace", "search"):
        assert said in refused(command, index, generated, *options)


@pytest.mark.slow
def test_an_index_of_masked_images(run, refused, model, data, mask, small, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    for i in range(10):
        Image.open(mask).save(masks / f"{i:05d}.png")
    out = tmp_path / "index"
    command = ["index", model, data, "--out", out, "--method", "trak", *small]
    run(*command, "--masks", masks)
    assert "masks" in json.loads((out / "manifest.json").read_text())["request"]["images"]
    assert "masks" in refused(*command)
    assert "have masks, and these come without" in refused("add", out, data, "--workers", "1")
