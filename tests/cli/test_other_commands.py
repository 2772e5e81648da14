"""train, generate, info, methods and evaluate."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from tests.cli.conftest import invoke

from creditline.methods import classes, gradient_method

TINY = (
    *("--steps", "2", "--batch-size", "4", "--resolution", "8", "--channels", "8"),
    *("--attention", "none", "--groups", "4", "--checkpoint-every", "1", "--threads", "1"),
)


@pytest.mark.slow
def test_train_then_use_the_run(run, refused, data, tmp_path, small):
    out = tmp_path / "run"
    text = run("train", data, "--out", out, "--size", "8", *TINY).stdout
    assert f"creditline index {out} {data} --out INDEX --size 8" in text
    settings = json.loads((out / "manifest.json").read_text())["request"]["config"]
    assert settings["unet"]["channels"] == [8]
    assert settings["unet"]["attention"] == []
    assert settings["steps"] == 2
    assert "steps: 2 on disk, 3 asked for" in refused(
        "train", data, "--out", out, "--size", "8", *TINY, "--steps", "3"
    )
    checkpoints = sorted(map(str, (out / "checkpoints").iterdir()))
    index = ["index", *checkpoints, data, "--size", "8", "--out", tmp_path / "i", *small]
    run(*index, "--method", "tracin", "--checkpoint-weights", "learning-rate")


def test_train_refuses(refused, data, tmp_path):
    out = ["--out", tmp_path / "run"]
    message = refused("train", data, *out, "--preset", "icon-16")
    assert "Did you mean 'icons-16'?" in message
    assert "--learning-rate must be positive" in refused(
        "train", data, *out, *TINY, "--learning-rate", "0"
    )
    message = refused("train", data, *out, "--preset", "icons-16")
    assert "8x8" in message
    assert "16x16" in message
    assert not (tmp_path / "run").exists()


def test_generate_refuses(refused, model, generated, tmp_path):
    out = ["--out", tmp_path / "p"]
    assert "unconditional" in refused("generate", model, *out, "--label", "1")
    assert "n must be at least 1" in refused("generate", model, *out, "-n", "0")
    assert "steps must be at least 1" in refused("generate", model, *out, "--steps", "0")
    message = refused("generate", model, "--out", generated, "-n", "2", "--steps", "4")
    assert "steps: 3 on disk, 4 asked for" in message
    assert not (tmp_path / "p").exists()


def test_info_shows_what_the_index_was_made_from(run, index, model, data):
    text = run("info", index).stdout
    for words in ("trak", model, data):
        assert words in text
    assert re.search(r"timesteps +2\n", text)
    assert re.search(r"damping +3\n", text)
    assert "digest" not in text
    assert max(map(len, text.splitlines())) <= 160


def test_verify_names_damaged_files_and_exits_with_1(run, index, tmp_path):
    copy = tmp_path / "index"
    shutil.copytree(index, copy)
    assert "intact" in run("verify", copy).stdout
    (data,) = (copy / "images.lance" / "data").glob("*.lance")
    data.write_bytes(data.read_bytes()[:-1] + b"x")
    result = invoke("verify", str(copy))
    assert result.exit_code == 1
    assert f"{data} is damaged" in result.stdout


def test_info_digest_is_that_of_the_contents(run, index):
    import creditline as cl

    assert cl.open_index(index).digest() in run("info", index, "--digest").stdout


def test_info_json(run, index):
    assert json.loads(run("info", index, "--json").stdout)["images"] == 10


def test_info_refuses(refused, tmp_path, generated):
    assert "was not written by `creditline index`" in refused("info", tmp_path)
    assert "does not exist" in refused("info", tmp_path / "nowhere")
    assert "creditline generate" in refused("info", generated)


def test_methods_table_names_every_method_within_100_columns(run):
    text = run("methods").stdout
    assert all(f"\n{name} " in text for name in classes())
    assert max(map(len, text.splitlines())) <= 100


def test_methods_json_has_settings(run):
    listed = {m["name"]: m for m in json.loads(run("methods", "--json").stdout)}
    assert set(listed) == set(classes())
    assert listed["d-trak"]["settings"]["features"]["objective"]["objective"] == "square-norm"
    assert listed["trak"]["paper"] == classes()["trak"].paper


@pytest.mark.slow
def test_evaluate_self_retrieval(run, refused, model, data, tmp_path, monkeypatch):
    monkeypatch.setattr(gradient_method, "QUERY_EVALUATIONS", 80)
    settings = ["--queries", "4", "--duplicates", "2", "--timesteps", "2", "--dim", "64"]
    command = ["evaluate", "self-retrieval", model, data, "--out", tmp_path / "e", "--workers", "1"]
    text = run(*command, *settings).stdout
    assert "D-TRAK" in text
    assert "4/4 = 100.0%" in text
    assert "There are 10 training images" in refused(*command, *settings, "--queries", "11")


@pytest.mark.slow
def test_evaluate_agreement(run, model, data):
    settings = ["--train", "8", "--queries", "2", "--timesteps", "1", "--dims", "64,128"]
    text = run("evaluate", "agreement", model, data, *settings).stdout
    assert "k = 64 " in text
    assert "k = 128 " in text
    assert "primal against dual" in text


@pytest.mark.parametrize("command", ["train", "generate", "index", "trace", "info", "methods"])
def test_help(run, command):
    text = run(command, "--help").stdout
    assert text.startswith("Usage:")
    assert "None" not in text
    assert not Path(command).exists()
