"""Dampings on a tiny benchmark: compared with an index, stored, and put in a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

import creditline as cl
from creditline.data.load import load_images
from creditline.evaluation.lds.compare import compare_methods
from creditline.evaluation.lds.config import LDSConfig
from creditline.gradients.projection import Projection
from creditline.methods import combined, ekfac, get
from creditline_research.studies import curvature_dampings
from creditline_research.studies.curvature_dampings import CurvatureStudy, compare_dampings
from creditline_research.tables.curvature_dampings import curvature_table

pytestmark = pytest.mark.slow
CONFIG = LDSConfig(resamples=10)
STUDY = CurvatureStudy(rhos=(0.001, 0.01), ridges=(1.0, 3.0))


@pytest.fixture(scope="module")
def few_draws():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ekfac, "DRAWS", 24)
        yield patch


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("dampings")


@pytest.fixture(scope="module")
def results(tiny_benchmark, benchmark_images, out, few_draws):
    options = {"settings": STUDY, "data": benchmark_images, "timesteps": (2,), "config": CONFIG}
    return compare_dampings(tiny_benchmark, out, say=lambda _: None, **options)


def test_every_damping_of_every_method(results):
    (rows,) = results.values()
    assert [(row.method, row.damping) for row in rows if row.damping] == [
        ("EK-FAC", "0.001"),
        ("EK-FAC", "0.01"),
        ("EK-FAC", "unrolled"),
        ("TRAK", "1"),
        ("TRAK", "3"),
        ("D-TRAK", "1"),
        ("D-TRAK", "3"),
        ("EK-FAC + D-TRAK", "0.001, 1"),
        ("EK-FAC + D-TRAK", "0.01, 1"),
        ("EK-FAC + D-TRAK", "0.01, 3"),
    ]
    assert [row.method for row in rows if not row.damping] == [
        "EK-FAC + D-TRAK less EK-FAC",
        "EK-FAC + D-TRAK less TRAK",
        "EK-FAC + D-TRAK less D-TRAK",
    ]


@pytest.mark.parametrize("name", ["ekfac", "d-trak", "combined"])
def test_lds_of_the_default_is_that_of_an_index(
    results, tiny_benchmark, benchmark_images, tmp_path, few_draws, name
):
    train, validation = tiny_benchmark.images(benchmark_images)
    method = get(name)()
    features = replace(method.features, plan=replace(method.features.plan, timesteps=2))
    if name != "d-trak":
        features = replace(features, projection=Projection("none"), bits=16)
    index = cl.index(
        str(tiny_benchmark.model),
        train,
        method=replace(method, features=features),
        out=tmp_path / "i",
    )
    queries = [("validation", validation), ("generated", load_images(tiny_benchmark.generated))]
    truth = tiny_benchmark.truth()
    groups = compare_methods(index, truth, queries, (), CONFIG).to_dict()["groups"]
    (row,) = [
        row for row in results[2] if row.is_default and row.damping and row.method in (
            {"ekfac": "EK-FAC", "combined": "EK-FAC + D-TRAK"}.get(name, "D-TRAK"),
        )
    ]  # fmt: skip
    for part in groups[:2]:
        assert row.lds[part["name"]][0] == pytest.approx(part["methods"][0]["lds"], abs=0.03)


def test_the_same_call_computes_nothing_again(
    results, tiny_benchmark, benchmark_images, out, monkeypatch
):
    monkeypatch.setattr(curvature_dampings, "_Scores", lambda *_: pytest.fail("computed again"))
    options = {"settings": STUDY, "data": benchmark_images, "timesteps": (2,), "config": CONFIG}
    assert compare_dampings(tiny_benchmark, out, **options) == {
        2: [replace(row, lds={k: list(v) for k, v in row.lds.items()}) for row in results[2]]
    }


def test_the_table_marks_the_largest_and_the_default(results):
    lines = curvature_table(results).splitlines()
    assert len(lines) == 2 + len(results[2])
    own = [line for line in lines if line.rstrip(" |").endswith("%")]
    assert len(own) == 4
    assert all("**" in line for line in own if line.rstrip().endswith("100% / 100% |"))


def test_the_weights_of_the_sum_are_the_products_own():
    method = combined.Combined()
    assert method.square_norm_weight == 1
    assert method.ridge.damping == curvature_dampings.DAMPING
    assert method.features.preconditioning.preconditioner_damping == curvature_dampings.RHO
