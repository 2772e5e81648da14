"""`creditline evaluate lds`: tables, JSON, a ground truth from outside, and refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from creditline.data.load import load_images
from creditline.evaluation.truth.ground_truth import GroundTruth

QUICK = ("--resamples", "50", "--dampings", "0.01,1", "--splits", "3")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[str]:
    """Two folders of queries."""
    from creditline.data.image_set import ImageSet

    output, rng = [], np.random.default_rng(3)
    for name, count in (("validation", 3), ("generated", 2)):
        generated = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
        folder = tmp_path_factory.mktemp("queries") / name
        output.append(str(ImageSet.from_images(generated).save(folder)))
    return output


@pytest.fixture(scope="module")
def arrays(tmp_path_factory) -> tuple[str, str]:
    """Files of random masks of ten images and losses of five queries."""
    folder, rng = tmp_path_factory.mktemp("arrays"), np.random.default_rng(4)
    np.save(folder / "masks.npy", (rng.random((32, 10)) < 0.5).astype(np.uint8))
    np.save(folder / "losses.npy", rng.normal(size=(32, 2, 5)).astype(np.float32))
    return str(folder / "masks.npy"), str(folder / "losses.npy")


@pytest.fixture
def lds_command(index, folders, arrays) -> list[str]:
    """The command with a ground truth from outside."""
    queries = [word for folder in folders for word in ("--queries", folder)]
    truth = ["--masks", arrays[0], "--losses", arrays[1]]
    return ["evaluate", "lds", index, *queries, *truth, *QUICK]


@pytest.mark.slow
def test_table_and_json(run, lds_command, tmp_path):
    out = tmp_path / "lds.json"
    text = run(*lds_command, "--method", "trak", "--method", "datamodel", "--json", out).stdout
    for line in (
        "validation: 3 queries, 32 subsets of 10 images, 2 seeds each",
        "generated: 2 queries",
        "all queries: 5 queries",
        "ceiling: seed to seed",
        "TRAK",
        "default 3",
        "cross-validated",
        "oracle",
        "Datamodel (ridge)",
        "Raw pixel (cosine)",
        "Random",
    ):
        assert line in text
    assert max(map(len, text.split("wrote")[0].splitlines())) <= 100
    groups = json.loads(out.read_text())["groups"]
    assert [part["name"] for part in groups] == ["validation", "generated", "all queries"]
    trak = groups[0]["methods"][0]
    assert len(trak["per_query"]) == 3
    assert trak["dampings"]["oracle"]["lds"] >= trak["lds"]
    assert "totals_per_contributor" in trak


@pytest.mark.slow
def test_arrays_and_the_folder_agree(run, lds_command, data, folders, arrays, tmp_path):
    queries = [(Path(folder).name, load_images(folder)) for folder in folders]
    truth = GroundTruth.from_arrays(*map(np.load, arrays), load_images(data), queries)
    truth.write(tmp_path / "truth")
    outside = lds_command.index("--masks")
    inside = [
        *lds_command[:outside],
        "--ground-truth",
        tmp_path / "truth",
        *lds_command[outside + 4 :],
    ]
    results = []
    for i, command in enumerate((lds_command, inside)):
        run(*command, "--json", tmp_path / f"{i}.json")
        results.append(json.loads((tmp_path / f"{i}.json").read_text())["groups"])
    assert results[0] == results[1]


@pytest.mark.slow
def test_settings_reach_methods_and_judge(run, lds_command, tmp_path):
    run(*lds_command, "--damping", "0.5", "--json", tmp_path / "lds.json")
    values = json.loads((tmp_path / "lds.json").read_text())
    assert values["settings"]["resamples"] == 50
    dampings = values["groups"][0]["methods"][0]["dampings"]
    assert dampings["default"]["damping"] == 0.5
    assert set(dampings["curve"]) == {"0.01", "0.5", "1"}


def test_ground_truth_is_one_or_the_other(refused, lds_command, tmp_path):
    start = lds_command[: lds_command.index("--masks")]
    for options, got in [
        ([], "got neither"),
        (["--masks", "m.npy"], "got --masks."),
        (
            ["--masks", "m.npy", "--losses", "l.npy", "--ground-truth", "g"],
            "got --ground-truth and",
        ),
    ]:
        assert got in refused(*start, *options)
    assert "cannot be read" in refused(*start, "--masks", "none.npy", "--losses", "none.npy")


@pytest.mark.slow
def test_refusals(refused, lds_command, folders, arrays, tmp_path):
    stored = tmp_path / "kept.json"
    stored.write_text("mine")
    assert "was not changed" in refused(*lds_command, "--json", stored)
    assert stored.read_text() == "mine"
    assert "Did you mean 'datamodel'" in refused(*lds_command, "--method", "datamodle")
    assert "--damping is a setting of none" in refused(
        *lds_command, "--method", "datamodel", "--damping", "1"
    )
    first = lds_command.index("--queries")
    assert "5 queries" in refused(*lds_command[:first], *lds_command[first + 2 :])
    assert "differentiates" in refused(*lds_command, "--method", "d-trak")


def test_images_in_another_order(refused, lds_command, data, folders, arrays, tmp_path):
    images = load_images(data)
    queries = [(Path(folder).name, load_images(folder)) for folder in folders]
    turned = images.subset(range(len(images) - 1, -1, -1))
    GroundTruth.from_arrays(*map(np.load, arrays), turned, queries).write(tmp_path / "truth")
    start = lds_command[: lds_command.index("--masks")]
    assert "another order" in refused(*start, "--ground-truth", tmp_path / "truth")
    shutil.rmtree(tmp_path / "truth")
    assert "does not exist" in refused(*start, "--ground-truth", tmp_path / "truth")
