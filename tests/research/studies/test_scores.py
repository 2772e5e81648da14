"""The study of scores on a tiny benchmark, against the same numbers computed by hand."""

from __future__ import annotations

import json

import pytest
from numpy.testing import assert_allclose

import creditline as cl
from creditline.evaluation.lds.config import LDSConfig
from creditline.evaluation.lds.score import compute_lds, predict_outputs
from creditline.methods.score_noise import halves_agree
from creditline_research.studies import score_run
from creditline_research.studies.score_run import study_benchmark
from creditline_research.studies.top_scores import split_scores
from creditline_research.tables.scores import score_tables

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("scores")


@pytest.fixture(scope="module")
def options(benchmark_images):
    config = LDSConfig(resamples=20)
    return {
        "names": ["trak", "journey-trak", "datamodel"],
        "data": benchmark_images,
        "timesteps": (2,),
        "config": config,
        "say": lambda _: None,
    }


@pytest.fixture(scope="module")
def results(tiny_benchmark, out, options):
    return study_benchmark(tiny_benchmark, out, **options)


def test_every_number_is_the_one_by_hand(results, tiny_benchmark, benchmark_images, out):
    part = results[0]["groups"][0]
    trak = next(entry for entry in part["methods"] if entry["method"] == "trak")
    _, validation = tiny_benchmark.images(benchmark_images)
    index = cl.open_index(out / "index-trak-2-1")
    features = index.extract(validation)
    scores, noise = index.scores(features), index.noise(features)
    truth = tiny_benchmark.truth()
    losses = truth.losses[:, :, : len(validation)]
    plain = compute_lds(scores, truth.masks, losses, resamples=20)
    assert trak["transforms"]["s"]["lds"] == plain.mean
    for split in trak["top_scores"]:
        top, rest = split_scores(scores, split["share"])
        assert split["top"]["lds"] == compute_lds(top, truth.masks, losses, resamples=20).mean
        if "rest" in split:
            halves = [
                split_scores(scores + sign * noise.sample, split["share"])[1] for sign in (1, -1)
            ]
            agreement = halves_agree(*(predict_outputs(half, truth.masks) for half in halves))
            assert_allclose(split["rest"]["reliability"], agreement.mean())
            assert split["rest"]["lds"] == compute_lds(rest, truth.masks, losses, resamples=20).mean


def test_subset_methods_are_split_on_held_out_subsets(results):
    datamodel = next(e for e in results[1]["groups"][0]["methods"] if e["method"] == "datamodel")
    assert "transforms" not in datamodel
    assert "reliability" not in datamodel["top_scores"][0].get("top", {})


def test_totals_are_transformed_where_shares_differ(results):
    entry = results[0]["shares"]["groups"][0]["methods"][0]
    assert all("totals_per_contributor" in values for values in entry["transforms"].values())
    assert results[0]["shares"]["subsets"] == 9


def test_tables_and_results_are_kept(results, tiny_benchmark, out, options, monkeypatch):
    text = score_tables(results)
    assert text.count("score transforms: LDS") == 2
    assert text.count("| Journey-TRAK | 2 |") == 1 + 4, "one row of transforms, four of splits"
    assert text.count("totals per contributor by score transform") == 2
    assert text.count("scores split at the share") == 2
    monkeypatch.setattr(score_run, "study_scores", lambda *_: pytest.fail("computed again"))
    again = study_benchmark(tiny_benchmark, out, **options)
    assert json.dumps(again) == json.dumps(results)
