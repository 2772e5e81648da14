"""`creditline evaluate counterfactual`: from a run, its pictures and indexes to a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

RUN = (
    *("--steps", "2", "--batch-size", "4", "--resolution", "8", "--channels", "8"),
    *("--attention", "none", "--groups", "4", "--threads", "1", "--checkpoint-every", "0"),
)


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    """A run on the data, two pictures, an index of pixels and one of gradients."""
    from tests.cli.conftest import SMALL, invoke

    place = tmp_path_factory.mktemp("counterfactual")
    model, pictures, trak, pixels = (str(place / name) for name in ("run", "p", "trak", "pixels"))
    for arguments in (
        ("train", data, "--out", model, *RUN),
        ("generate", model, "-n", "2", "--steps", "2", "--batch-size", "1", "--out", pictures),
        ("index", model, data, "--out", trak, "--method", "trak", *SMALL),
        ("index", data, "--out", pixels, "--method", "pixel-cosine", "--workers", "1"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 0, result.output
    return model, pictures, trak, pixels


def test_removes_by_every_index_and_continues(run, refused, data, made, tmp_path):
    model, pictures, trak, pixels = made
    out = tmp_path / "out"
    command = [
        *("evaluate", "counterfactual", model, data, "--targets", pictures, "--out", out),
        *("--index", trak, "--index", pixels, "--removals", "2", "--workers", "1"),
        *("--baselines", "nothing,random"),
    ]
    text = run(*command).stdout
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    assert "0.00 (0.00 to 0.00)" in lines["nothing"]
    assert list(lines)[1:5] == ["nothing", "trak", "pixel-cosine", "random"]
    assert "Medians over 2 pictures" in text
    assert len(json.loads((out / "counterfactual.json").read_text())["changes"]) == 8
    assert (out / "before-and-after.png").is_file()
    assert run(*command).stdout == text
    assert "threads: 1 on disk, 2 asked for" in refused(*command, "--threads", "2")


def test_methods_are_found_on_the_index_that_has_them(run, data, made, tmp_path):
    model, pictures, trak, pixels = made
    listed = Path(pictures).parent / "targets.txt"
    listed.write_text(f"{Path(pictures).name}/00001.png\n\n", "utf-8")
    text = run(
        *("evaluate", "counterfactual", model, data, "--targets", listed),
        *("--out", tmp_path / "out", "--index", pixels, "--index", trak, "--removals", "1"),
        *("--method", "relative-if", "--baselines", "none", "--together", "--controls", "2"),
        *("--workers", "1"),
    ).stdout
    assert "relative-if" in text
    assert "over controls" in text
    assert "Medians over 1 picture " in text


def test_refuses_before_any_training(refused, data, made, tmp_path):
    model, pictures, trak, _ = made
    out = ["--out", tmp_path / "out"]
    start = ["evaluate", "counterfactual", model, data, *out]
    assert "Missing option" in _usage(*start)
    chosen = [*start, "--targets", pictures, "--index", trak]
    assert "trak would be used twice" in refused(*chosen, "--index", trak)
    assert "differentiates" in refused(*chosen, "--method", "d-trak")
    assert "was trained on 10 images" in refused(*chosen, "--limit", "9")
    assert "--base" in refused(*chosen, "--base", model)
    assert "Unknown method" in refused(*chosen, "--method", "d-trakk")
    assert "leaves some of 10 images" in refused(*chosen, "--removals", "10")
    assert "How 0000" in refused(*start, "--targets", data, "--index", trak)
    assert "threads must be at least 1; got 0" in refused(*chosen, "--threads", "0")
    assert not (tmp_path / "out").exists()


def test_pictures_and_indexes_of_another_model_are_refused(
    refused, data, made, index, pictures, tmp_path
):
    """`index` and `pictures` are of the tests' other model."""
    model, mine, trak, _ = made
    start = ["evaluate", "counterfactual", model, data, "--out", tmp_path / "out"]
    assert "another model than RUN" in refused(*start, "--targets", mine, "--index", index)
    assert "drawn by another model" in refused(*start, "--targets", pictures, "--index", trak)
    assert not (tmp_path / "out").exists()


def _usage(*arguments):
    from tests.cli.conftest import invoke

    result = invoke(*map(str, arguments))
    assert result.exit_code == 2
    return result.output
