"""Methods of another package: listed, indexed, traced, reported and evaluated by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from tests.benchmarks.tiny import TINY
from tests.plugins.conftest import PACKAGE

import creditline as cl
from creditline import methods
from creditline.benchmarks import BENCHMARKS
from creditline.cli import main
from creditline.errors import DataError, IndexMismatchError, SettingsError
from creditline.evaluation.truth.ground_truth import GroundTruth

KINDS = ("bilinear", "model", "subset")


@pytest.fixture
def world(tiny_folder, tiny_images, tmp_path):
    """Model, images, queries and a ground truth of them, on disk."""
    data = tiny_images.save(tmp_path / "data")
    images = cl.load_images(data)
    queries = cl.load_images(tiny_images.subset([2, 5, 8]).save(tmp_path / "queries"))
    rng = np.random.default_rng(0)
    masks = np.stack([rng.permutation(12) < 6 for _ in range(32)])
    losses = 1 - 0.1 * masks @ rng.standard_normal((12, 3)) + 0.01 * rng.standard_normal((32, 3))
    truth = GroundTruth.from_arrays(masks, losses, images, [("queries", queries)])
    truth.write(tmp_path / "truth")
    return tmp_path


def run(*arguments: object) -> str:
    result = CliRunner(env={"CREDITLINE_PROGRESS": "0"}).invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.output


def index_command(world, kind, name, out):
    """Arguments that index for a method of each kind."""
    model = {"bilinear": ["--timesteps", 2, "--dim", 64], "model": [], "subset": []}[kind]
    sources = [world / "data"] if kind == "subset" else [world / "tiny-pipeline", world / "data"]
    truth = ["--ground-truth", world / "truth"] if kind == "subset" else []
    options = ["--method", name, "--out", out, "--workers", 1, *model, *truth]
    return ["index", *sources, *options]


def test_a_bilinear_method_takes_at_most_25_lines():
    text = (PACKAGE / "toy_methods" / "sign_agreement.py").read_text("utf-8")
    assert len([line for line in text.splitlines() if line.strip()]) <= 25


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_method_of_another_package_works_by_the_same_commands(toy_methods, world, kind):
    name, out = toy_methods[kind], world / "index"
    assert f"\n{name} " in run("methods")
    assert "12" in run(*index_command(world, kind, name, out))
    report, table, trace = (world / f"trace.{end}" for end in ("html", "csv", "json"))
    run("trace", out, world / "queries", "--html", report, "--csv", table, "--json", trace)
    assert methods.get(name).title in report.read_text("utf-8")
    queries = cl.Trace.from_json(trace)
    assert [query.name for query in queries] == [f"{i:05d}.png" for i in (2, 5, 8)]
    assert queries.method.name == name
    json_path = world / "lds.json"
    options = ["--ground-truth", world / "truth", "--queries", world / "queries"]
    assert methods.get(name).title in run("evaluate", "lds", out, *options, "--json", json_path)
    judged = json.loads(json_path.read_text("utf-8"))["groups"][0]["methods"]
    assert [entry["method"] for entry in judged][:1] == [name]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_an_index_are_those_of_the_method(toy_methods, world, kind):
    run(*index_command(world, kind, toy_methods[kind], world / "index"))
    images, queries = cl.load_images(world / "data"), cl.load_images(world / "queries")
    index = cl.open_index(world / "index")
    scores = index.scores(queries)
    method = methods.get(toy_methods[kind])()
    if kind == "bilinear":
        values = index.extract(queries).values[:, 0, 0]
        expected = np.sign(values) @ np.sign(index.features()).T
    elif kind == "model":
        model = cl.load_model(world / "tiny-pipeline")
        before = [p.clone() for p in model.module.parameters()]
        method.fit(methods.FitContext(models=[model], images=images))
        expected = method.score(methods.QueryBatch(images=queries)).values
        changed = zip(before, model.module.parameters(), strict=True)
        assert all((a == b).all() for a, b in changed), "the model is left as it was"
    else:
        truth = GroundTruth.read(world / "truth")
        losses = truth.losses.mean(1)
        expected = -(losses - losses.mean(0)).T @ (truth.masks - truth.masks.mean(0)) / 32
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-9)
    trace = index.trace(queries, top=12)
    for row, query in zip(scores, trace, strict=True):
        for hit in (*query.proponents, *query.opponents):
            np.testing.assert_allclose(hit.score, row[hit.row], rtol=1e-5, atol=1e-8)
    again = index.extract(queries)
    assert np.array_equal(index.scores(again), scores)


@pytest.mark.parametrize("kind", ["model", "subset"])
def test_a_kind_refuses_what_it_cannot_do(toy_methods, world, kind):
    run(*index_command(world, kind, toy_methods[kind], world / "index"))
    index = cl.open_index(world / "index")
    with pytest.raises(SettingsError, match="no stored factors to search"):
        index.search(world / "queries")
    with pytest.raises(SettingsError, match="cannot be added to or removed"):
        index.add(world / "queries")
    with pytest.raises(SettingsError, match="cannot be added to or removed"):
        index.remove([0])
    with pytest.raises(SettingsError, match="cannot score a region"):
        index.trace(world / "queries", region=(0, 0, 0.5, 0.5))
    with pytest.raises(IndexMismatchError, match="TRAK needs gradients features"):
        index.using("trak")


def test_a_subset_index_serves_every_subset_method_and_knows_its_queries_alone(toy_methods, world):
    run(*index_command(world, "subset", "datamodel", world / "index"))
    index = cl.open_index(world / "index")
    for name in ("mask-covariance", "empirical-influence", "datamodel-lasso"):
        assert index.using(name).scores(world / "queries").shape == (3, 12)
    with pytest.raises(DataError, match="knows only the 3 query images"):
        index.trace(world / "data")
    with pytest.raises(SettingsError, match="ground truth"):
        cl.index(None, world / "data", method="datamodel", out=world / "none")
    truth = GroundTruth.read(world / "truth")
    with pytest.raises(SettingsError, match="does not learn from retrained models"):
        cl.index(None, world / "data", method="pixel-dot", out=world / "x", ground_truth=truth)


@pytest.mark.slow
def test_a_model_index_checks_the_training_images_it_loads_again(toy_methods, world, tiny_images):
    run(*index_command(world, "model", toy_methods["model"], world / "index"))
    moved = (world / "data").rename(world / "moved")
    index = cl.open_index(world / "index", images=str(moved))
    assert index.scores(world / "queries").shape == (3, 12)
    assert "00002.png" in run(
        "trace", world / "index", world / "queries", "--training-images", moved
    )
    other = cl.ImageSet.from_images(255 - tiny_images.array())
    with pytest.raises(IndexMismatchError, match="12 of 12 training images of the index are not"):
        cl.open_index(world / "index", images=other).scores(world / "queries")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_method_of_another_package_is_judged_by_the_benchmark_command(
    toy_methods, tiny_benchmark, benchmark_images, tmp_path, monkeypatch, kind
):
    monkeypatch.setitem(BENCHMARKS, "icons", TINY)
    data, name = benchmark_images.save(tmp_path / "data"), toy_methods[kind]
    options = ["--from", tiny_benchmark.folder, "--data", data, "--out", tmp_path / "out"]
    options += ["--timesteps", 2, "--resamples", 10, "--workers", 1]
    table = run("benchmark", "icons", "--method", name, *options)
    rows = [line for line in table.splitlines() if line.startswith(f"| {methods.get(name).title}")]
    assert len(rows) >= 2, "validation and generated queries"
