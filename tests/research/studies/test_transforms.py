"""Transforms of scores, judged beside the plain score."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.evaluation.lds.score import compute_lds, score_outputs
from creditline.methods.score_transform import ScoreTransform
from creditline_research.studies.transforms import (
    COMPARED,
    PLAIN,
    transform_scores,
    transformed_outputs,
)
from creditline_research.tables.transforms import transform_table

RNG = np.random.default_rng(0)
MASKS = RNG.random((40, 30)) < 0.5
SCORES = RNG.standard_normal((5, 30))
CONTRIBUTORS = ["ada", "bob", None] * 10


def losses(truth: np.ndarray, noise: float) -> np.ndarray:
    target = (MASKS @ truth.T)[:, None] + noise * RNG.standard_normal((40, 2, 5))
    return -target


def judged(outputs, losses):
    scores = {
        name: tuple(None if x is None else score_outputs(x, losses, resamples=50) for x in pair)
        for name, pair in ((n, (o.images, o.totals)) for n, o in outputs.items())
    }
    return transform_scores(scores)


def test_lds_of_a_transform_is_that_of_transformed_scores():
    measured = losses(SCORES, 1.0)
    scores = judged(transformed_outputs(SCORES, np.full((5, 1), 0.1), MASKS, None), measured)
    assert list(scores) == [str(transform) for transform in (PLAIN, *COMPARED)]
    for transform in (PLAIN, *COMPARED):
        values = transform.apply(SCORES, np.full((5, 1), 0.1))
        own = compute_lds(values, MASKS, measured, resamples=50)
        score = scores[str(transform)]
        assert_allclose(score.lds.per_query, own.per_query)
        assert score.gain.mean == pytest.approx(own.mean - scores["s"].lds.mean)
        assert score.totals is None
    assert scores["s"].gain.interval == (0, 0)


def test_the_transform_that_made_the_ground_truth_is_best():
    transform = ScoreTransform("rectified")
    scores = judged(
        transformed_outputs(SCORES, None, MASKS, CONTRIBUTORS), losses(transform.apply(SCORES), 0.1)
    )
    assert max(scores, key=lambda name: scores[name].lds.mean) == str(transform)
    assert scores[str(transform)].gain.interval[0] > 0
    assert scores[str(transform)].totals is not None


def test_no_threshold_in_standard_errors_without_errors():
    scores = transformed_outputs(SCORES, None, MASKS, None)
    assert not any("standard errors" in name for name in scores)


def test_the_table_has_every_transform_and_its_gain():
    transforms = judged(transformed_outputs(SCORES, None, MASKS, CONTRIBUTORS), losses(SCORES, 0.1))
    entry = {"title": "TRAK", "transforms": {name: s.to_dict() for name, s in transforms.items()}}
    part = {"methods": [entry, {"title": "Random"}]}
    for totals in (False, True):
        text = transform_table("icons", [(10, 1, part)], totals)
        head, row = text.splitlines()[2], text.splitlines()[4]
        assert "| s | max(s, 0) | max(s, 0)^1.5 |" in head
        assert row.startswith("| TRAK | 10 |")
        assert row.count(" to ") == len(transforms) - 1
        assert "Random" not in text
    assert transform_table("icons", [(10, 1, {"methods": [{"title": "Random"}]})]) == ""
