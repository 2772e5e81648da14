"""`creditline trace`: tables, exports and refusals."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
from PIL import Image


@pytest.mark.slow
def test_prints_proponents_totals_and_meaning(run, index, generated):
    text = run("trace", index, generated, "--top", "4").stdout
    assert "00000.png (seed 0, " in text
    assert "00001.png (seed 1, " in text
    assert text.count("proponent") == 2 + 1, "a table for each query, and the meaning"
    assert "artist 1" in text
    assert "share of credit" in text
    assert "by chance" in text
    assert text.count("opponent") == 2 + 1
    assert "All 2 query images" in text
    assert "in top 4 each" in text
    assert "in top 4" in text
    assert "training on the image is estimated to have lowered the loss" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.slow
def test_one_image_has_no_overall_totals(run, index, generated):
    text = run("trace", index, f"{generated}/00000.png").stdout
    assert "All 1" not in text
    assert text.count("share of credit") == 1


@pytest.mark.slow
def test_a_training_image_is_traced_to_itself(run, index, data):
    lines = run("trace", index, f"{data}/00003.png", "--query-draws", "200").stdout.splitlines()
    first = next(line for line in lines if line.strip().startswith("1 "))
    assert "00003.png" in first


@pytest.mark.slow
def test_exports(run, refused, index, generated, tmp_path):
    files = {kind: tmp_path / f"out.{kind}" for kind in ("html", "csv", "parquet", "json")}
    options = [text for kind, path in files.items() for text in (f"--{kind}", str(path))]
    command = ["trace", index, f"{generated}/00000.png", "--top", "3", *options]
    text = run(*command).stdout
    assert all(f"wrote {path}" in text for path in files.values())
    assert files["html"].read_text().lstrip().lower().startswith("<!doctype html>")
    assert len(pd.read_csv(files["csv"])) == 6
    assert len(pd.read_parquet(files["parquet"])) == 6
    assert len(json.loads(files["json"].read_text())["queries"]) == 1
    files["html"].write_text("mine")
    assert "--overwrite" in refused(*command)
    assert files["html"].read_text() == "mine"
    run(*command, "--overwrite")
    assert files["html"].read_text() != "mine"


@pytest.mark.slow
def test_another_method_and_damping_on_the_same_index(run, index, generated):
    own = run("trace", index, generated).stdout
    assert own == run("trace", index, generated, "--method", "trak", "--damping", "3").stdout
    assert own != run("trace", index, generated, "--damping", "10").stdout
    assert own != run("trace", index, generated, "--method", "gradient-cosine").stdout
    steps = run("trace", index, generated, "--method", "journey-trak", "--per-timestep").stdout
    assert steps.count(" at t=") == 2 * 3


@pytest.mark.slow
def test_a_model_that_moved(run, refused, model, data, generated, tmp_path, small):
    moved, out = tmp_path / "moved", tmp_path / "i"
    shutil.copytree(model, tmp_path / "first")
    run("index", tmp_path / "first", data, "--out", out, *small)
    (tmp_path / "first").rename(moved)
    assert "first" in refused("trace", out, generated)
    run("trace", out, generated, "--model", moved)


def test_a_similarity_is_called_one(run, data, generated, tmp_path):
    out = tmp_path / "i"
    run("index", data, "--out", out, "--method", "pixel-cosine", "--workers", "1")
    text = run("trace", out, generated).stdout
    assert "more similar" in text
    assert "most similar" in text
    assert "opponent" not in text


def test_features_that_the_index_lacks(refused, index, generated):
    assert "--method d-trak" in refused("trace", index, generated, "--method", "d-trak")
    assert "pixel" in refused("trace", index, generated, "--method", "pixel-dot")


def test_an_option_that_the_method_lacks(refused, index, generated):
    command = ["trace", index, generated, "--method", "gas"]
    assert "gas has no option --damping" in refused(*command, "--damping", "1")


def test_unknown_method(refused, index, generated):
    assert "Did you mean 'trak'?" in refused("trace", index, generated, "--method", "trakk")


@pytest.mark.parametrize("top", ["0", "-3"])
def test_no_top(refused, index, generated, top):
    assert "top must be at least 1" in refused("trace", index, generated, "--top", top)


@pytest.mark.slow
def test_damping_below_the_safe_range_shows_the_numbers(refused, index, generated):
    message = refused("trace", index, generated, "--damping", "1e-30")
    assert "Smallest safe damping" in message


def test_a_query_folder_without_an_image(refused, index, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty" in refused("trace", index, tmp_path / "empty")


def test_a_query_that_is_not_there(refused, index, tmp_path):
    assert "absent.png" in refused("trace", index, tmp_path / "absent.png")


def test_a_query_that_is_no_image(refused, index, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    assert "broken.png" in refused("trace", index, tmp_path / "broken.png")


def test_a_query_of_another_size(refused, index, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "big.png")
    message = refused("trace", index, tmp_path / "big.png")
    assert "9x9" in message
    assert "8x8" in message


def test_a_folder_that_is_no_index(refused, data, generated):
    assert "was not written by `creditline index`" in refused("trace", data, generated)
    assert "holds generated images, not an index" in refused("trace", generated, generated)
