"""Dampings on a tiny benchmark: compared with an index, stored, and put in a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

import creditline as cl
from creditline.data.load import load_images
from creditline.data.save import write_folder
from creditline.evaluation.lds.compare import compare_methods
from creditline.evaluation.lds.config import LDSConfig
from creditline.gradients.projection import Projection
from creditline.methods import get
from creditline_research.studies import curvature_dampings
from creditline_research.studies.curvature_dampings import (
    CurvatureStudy,
    DampingResult,
    compare_dampings,
)
from creditline_research.studies.subject import Subject
from creditline_research.tables.curvature_dampings import curvature_table

pytestmark = pytest.mark.slow
CONFIG = LDSConfig(resamples=10)
STUDY = CurvatureStudy(rhos=(0.001, 0.01), ridges=(1.0, 3.0), weights=(1.0, 2.0), draws=24)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("dampings")


OPTIONS = {"settings": STUDY, "timesteps": (2,), "config": CONFIG}


@pytest.fixture(scope="module")
def subject(tiny_benchmark, benchmark_images):
    return Subject.of_benchmark(tiny_benchmark, benchmark_images)


@pytest.fixture(scope="module")
def result(subject, out):
    (result,) = compare_dampings(subject, out, say=lambda _: None, **OPTIONS).values()
    return result


def test_every_damping_of_every_method(result):
    visible = [row for row in result.rows if row.is_shown]
    assert [(row.method, row.damping) for row in visible if row.damping] == [
        ("EK-FAC", "0.001"),
        ("EK-FAC", "0.01"),
        ("EK-FAC", "unrolled"),
        ("TRAK", "1"),
        ("TRAK", "3"),
        ("D-TRAK", "1"),
        ("D-TRAK", "3"),
        ("EK-FAC + D-TRAK", "0.001, 1"),
        ("EK-FAC + D-TRAK", "0.01, 1"),
        ("EK-FAC + D-TRAK", "0.01, 1, weight 2"),
        ("EK-FAC + D-TRAK", "0.01, 3"),
        ("EK-FAC + D-TRAK", "unrolled, 1"),
        ("EK-FAC + D-TRAK", "0.01, 1"),
    ]
    assert [row.transform for row in visible if row.method == "EK-FAC + D-TRAK"] == [
        *["rectified"] * 5,
        "plain",
    ]
    assert [row.method for row in visible if not row.damping] == [
        "EK-FAC + D-TRAK less EK-FAC",
        "EK-FAC + D-TRAK less TRAK",
        "EK-FAC + D-TRAK less D-TRAK",
    ]


def test_every_setting_of_the_sum_is_judged_by_either_transform(result):
    total = [row for row in result.rows if row.method == "EK-FAC + D-TRAK"]
    assert len(total) == len({(row.damping, row.transform) for row in total}) == 2 * 3 * 2 * 2
    assert sum(row.is_default for row in total) == 1


@pytest.mark.parametrize("name", ["ekfac", "d-trak", "combined"])
def test_lds_of_the_default_is_that_of_an_index(
    result, tiny_benchmark, benchmark_images, tmp_path, name
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
        row for row in result.rows if row.is_default and row.damping and row.method in (
            {"ekfac": "EK-FAC", "combined": "EK-FAC + D-TRAK"}.get(name, "D-TRAK"),
        )
    ]  # fmt: skip
    for part in groups[:2]:
        assert row.lds[part["name"]][0] == pytest.approx(part["methods"][0]["lds"], abs=0.03)


def test_the_same_call_computes_nothing_again(result, subject, out, monkeypatch):
    monkeypatch.setattr(
        curvature_dampings, "DampedScores", lambda *_: pytest.fail("computed again")
    )
    ((path, again),) = compare_dampings(subject, out, **OPTIONS).items()
    assert again == result == DampingResult.read(path)


def test_a_model_of_ones_own_gives_the_same_as_the_benchmark(
    result, tiny_benchmark, benchmark_images, subject, tmp_path
):
    folders = {"train": subject.train, "validation": subject.queries["validation"]}
    for name, images in folders.items():
        names = [f"{i:02}.png" for i in range(len(images))]
        write_folder(tmp_path / name, names, images.image, {"contributor": images.contributors})
    own = Subject.of_files(
        str(tiny_benchmark.model),
        tmp_path / "train",
        [str(tmp_path / "validation"), str(tiny_benchmark.generated)],
        tiny_benchmark.folder / "truth",
    )
    (again,) = compare_dampings(own, tmp_path / "out", say=lambda _: None, **OPTIONS).values()
    for row, known in zip(again.rows, result.rows, strict=True):
        for folder, values in known.lds.items():
            assert row.lds[folder] == pytest.approx(values, abs=1e-3)


def test_the_table_marks_the_largest_and_the_methods_own(result):
    lines = curvature_table([result]).splitlines()
    assert len(lines) == 2 + sum(row.is_shown for row in result.rows)
    own = [line for line in lines if line.rstrip(" |").endswith("%")]
    assert len(own) == 4
    assert all("**" in line for line in own if line.rstrip().endswith("100% / 100% |"))
