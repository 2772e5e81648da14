"""`creditline index`: what it prints and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from creditline.methods import classes


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


@pytest.mark.slow
def test_says_what_it_made(run, index, model, data, small):
    text = run("index", model, data, "--out", index, "--method", "trak", *small).stdout
    for line in ("images      10", "TRAK", "dimension   64", "disk", "time", "skipped     none"):
        assert line in text
    assert "2 images, in 1 group of equal pixels" in text
    assert f"creditline trace {index} IMAGE" in text


@pytest.mark.slow
def test_options_reach_the_method(run, model, data, tmp_path, small):
    changes = ["--objective", "p-norm", "--p", "1", "--no-include-zero", "--damping", "0.5"]
    run("index", model, data, "--out", tmp_path / "i", *small, *changes)
    settings = manifest(tmp_path / "i")["request"]["method"]["settings"]
    assert settings["features"]["objective"]["objective"] == "p-norm"
    assert settings["features"]["objective"]["p"] == 1.0
    assert settings["features"]["plan"]["include_zero"] is False
    assert settings["ridge"] == {"damping": 0.5, "relative_to": "mean", "center": True}


def test_a_method_without_model_takes_data_alone(run, data, tmp_path):
    out = tmp_path / "i"
    text = run("index", data, "--out", out, "--method", "pixel-cosine", "--workers", "1").stdout
    assert "Raw pixel (cosine)" in text
    assert "dimension   192" in text


@pytest.mark.slow
def test_several_models(run, model, data, tmp_path, small):
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    text = run("index", model, copy, data, "--out", tmp_path / "i", *small).stdout
    assert "D-TRAK, 2 models" in text


@pytest.mark.slow
def test_skipped_files_are_listed(run, refused, model, data, tmp_path, small):
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    (folder / "00004.png").write_bytes(b"no image")
    out = tmp_path / "i"
    assert "00004.png" in refused("index", model, folder, "--out", out, *small)
    assert not out.exists()
    text = run("index", model, folder, "--out", out, "--skip-bad", *small).stdout
    assert "images      9" in text
    assert "skipped     00004.png (" in text


def test_unknown_method(refused, model, data, tmp_path):
    message = refused("index", model, data, "--out", tmp_path / "i", "--method", "dtrak")
    assert "Unknown method 'dtrak'. Did you mean 'd-trak'?" in message


@pytest.mark.parametrize(
    ("option", "value", "nearest"),
    [
        ("--objective", "square", "square-norm"),
        ("--projection", "gausian", "gaussian"),
        ("--schedule", "unifrom", "uniform"),
        ("--relative-to", "medain", "median"),
        ("--crop", "centr", "center"),
    ],
)
def test_unknown_names_suggest_the_nearest(refused, model, data, tmp_path, option, value, nearest):
    message = refused("index", model, data, "--out", tmp_path / "i", option, value)
    assert f"Did you mean {nearest!r}?" in message


def test_an_option_that_the_method_lacks(refused, model, data, tmp_path):
    command = ["index", model, data, "--out", tmp_path / "i", "--method"]
    message = refused(*command, "gas", "--damping", "0.1")
    assert "gas has no option --damping" in message
    assert "trak, d-trak, das, relative-if" in message


@pytest.mark.parametrize(
    "method",
    [
        name
        for name, cls in classes().items()
        if cls.capabilities.kind == "bilinear" and cls.capabilities.features != "pixels"
    ],
)
def test_a_model_is_asked_for_where_one_is_needed(refused, data, tmp_path, method):
    message = refused("index", data, "--out", tmp_path / "i", "--method", method)
    needed = (
        "an encoder"
        if classes()[method].capabilities.features == "encoder"
        else "creditline index MODEL DATA"
    )
    assert needed in message.lower() or needed in message


def test_a_model_too_many(refused, model, data, tmp_path):
    message = refused("index", model, data, "--out", tmp_path / "i", "--method", "pixel-dot")
    assert "uses no model" in message


@pytest.mark.slow
def test_other_settings_show_both_values(refused, index, model, data):
    same = ["index", model, data, "--out", index, "--method", "trak", "--dim", "64"]
    message = refused(*same, "--timesteps", "3")
    assert "timesteps: 2 on disk, 3 asked for" in message
    assert "--overwrite" in message


@pytest.mark.slow
def test_out_that_is_something_else(refused, model, data, tmp_path, small):
    (tmp_path / "letter.txt").write_text("dear")
    assert "nothing was changed" in refused("index", model, data, "--out", tmp_path, *small)
    assert "is a file" in refused("index", model, data, "--out", tmp_path / "letter.txt", *small)
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_data_that_is_not_there(refused, model, tmp_path, small):
    message = refused("index", model, tmp_path / "nowhere", "--out", tmp_path / "i", *small)
    assert "nowhere" in message


def test_an_empty_folder(refused, model, tmp_path, small):
    (tmp_path / "empty").mkdir()
    message = refused("index", model, tmp_path / "empty", "--out", tmp_path / "i", *small)
    assert "empty" in message


def test_a_folder_that_is_no_model(refused, data, tmp_path, small):
    assert "is not a model" in refused("index", data, data, "--out", tmp_path / "i", *small)


@pytest.mark.slow
def test_images_of_the_wrong_size(refused, run, model, tmp_path, small):
    (tmp_path / "big").mkdir()
    for i in range(3):
        Image.new("RGB", (12, 12), (i, 0, 0)).save(tmp_path / "big" / f"{i}.png")
    command = ["index", model, tmp_path / "big", "--out", tmp_path / "i", *small]
    message = refused(*command)
    assert "(3, 12, 12)" in message
    assert "8x8" in message
    run(*command, "--size", "8")


@pytest.mark.parametrize("row", ["ghost.png,artist", "00001.png,artist"])
def test_metadata_that_does_not_fit(refused, model, data, tmp_path, small, row):
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    (folder / "metadata.csv").write_text(f"file_name,contributor\n{row}\n")
    message = refused("index", model, folder, "--out", tmp_path / "i", *small)
    assert ("ghost.png" if "ghost" in row else "00000.png") in message


@pytest.mark.parametrize("plan", [["--timesteps", "2000"], ["--schedule", "trajectory"]])
def test_a_plan_that_does_not_fit_leaves_nothing_behind(refused, model, data, tmp_path, plan):
    refused("index", model, data, "--out", tmp_path / "i", "--dim", "64", *plan)
    assert not (tmp_path / "i").exists()


def test_a_dimension_that_makes_no_sense(refused, model, data, tmp_path):
    command = ["index", model, data, "--out", tmp_path / "i", "--workers", "1", "--dim"]
    assert "10000000" in refused(*command, "10000000").replace(",", "")
    assert "dim must be at least 1" in refused(*command, "0")


def test_a_device_that_is_not_there(refused, model, data, tmp_path):
    message = refused("index", model, data, "--out", tmp_path / "i", "--device", "abacus")
    assert "'abacus'" in message


def test_no_workers(refused, model, data, tmp_path):
    message = refused("index", model, data, "--out", tmp_path / "i", "--workers", "0")
    assert "workers must be at least 1" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--executor", "threads"], "Unknown executor 'threads'"),
        (["--executor", "local", "--workers", "2"], "The local executor has one worker; got 2"),
        (["--ray-address", "localhost:6379"], "ray_address is for executor='ray'"),
        (["--device", "cpu,"], "A device has no name"),
    ],
)
def test_impossible_executors_are_refused(refused, data, tmp_path, options, message):
    command = ["index", data, "--out", tmp_path / "i", "--method", "pixel-cosine"]
    assert message in refused(*command, *options)
    assert not (tmp_path / "i").exists()


def test_an_executor_is_chosen_by_name(run, data, tmp_path):
    command = ["index", data, "--method", "pixel-cosine", "--executor", "local"]
    assert "Next:" in run(*command, "--out", tmp_path / "i").stdout
