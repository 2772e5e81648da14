"""Shapes of scores, judged beside the plain score."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.benchmarks.shape_page import shape_table
from creditline.evaluation.lds.score import lds, score_outputs
from creditline.evaluation.lds.shapes import COMPARED, PLAIN, shape_scores, shaped_outputs
from creditline.methods.shape import ScoreTransform

RNG = np.random.default_rng(0)
MASKS = RNG.random((40, 30)) < 0.5
SCORES = RNG.standard_normal((5, 30))
WHOSE = ["ada", "bob", None] * 10


def losses(truth: np.ndarray, noise: float) -> np.ndarray:
    target = (MASKS @ truth.T)[:, None] + noise * RNG.standard_normal((40, 2, 5))
    return -target


def judged(outputs, measured):
    found = {
        name: tuple(None if x is None else score_outputs(x, measured, resamples=50) for x in pair)
        for name, pair in ((n, (o.images, o.totals)) for n, o in outputs.items())
    }
    return shape_scores(found)


def test_each_shape_scores_as_if_it_were_the_score():
    measured = losses(SCORES, 1.0)
    found = judged(shaped_outputs(SCORES, np.full((5, 1), 0.1), MASKS, None), measured)
    assert list(found) == [str(shape) for shape in (PLAIN, *COMPARED)]
    for shape in (PLAIN, *COMPARED):
        shaped = shape.apply(SCORES, np.full((5, 1), 0.1))
        own = lds(shaped, MASKS, measured, resamples=50)
        score = found[str(shape)]
        assert_allclose(score.lds.per_query, own.per_query)
        assert score.gain.mean == pytest.approx(own.mean - found["s"].lds.mean)
        assert score.totals is None
    assert found["s"].gain.interval == (0, 0)


def test_the_shape_that_made_the_truth_wins():
    shape = ScoreTransform("rectified")
    found = judged(shaped_outputs(SCORES, None, MASKS, WHOSE), losses(shape.apply(SCORES), 0.1))
    assert max(found, key=lambda name: found[name].lds.mean) == str(shape)
    assert found[str(shape)].gain.interval[0] > 0
    assert found[str(shape)].totals is not None


def test_no_floor_without_errors():
    found = shaped_outputs(SCORES, None, MASKS, None)
    assert not any("standard errors" in name for name in found)


def test_the_table_has_every_shape_and_its_gain():
    shapes = judged(shaped_outputs(SCORES, None, MASKS, WHOSE), losses(SCORES, 0.1))
    entry = {"title": "TRAK", "shapes": {name: s.to_dict() for name, s in shapes.items()}}
    part = {"methods": [entry, {"title": "Random"}]}
    for totals in (False, True):
        text = shape_table("icons", [(10, 1, part)], totals)
        head, row = text.splitlines()[2], text.splitlines()[4]
        assert "| s | max(s, 0) | max(s, 0)^1.5 |" in head
        assert row.startswith("| TRAK | 10 |")
        assert row.count(" to ") == len(shapes) - 1
        assert "Random" not in text
    assert shape_table("icons", [(10, 1, {"methods": [{"title": "Random"}]})]) == ""
