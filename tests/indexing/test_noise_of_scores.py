"""The noise of scores and features: halves, errors, and scores that are transformed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.errors import (
    SettingsError,
)


@pytest.mark.slow
def test_scores_are_transformed_and_ranks_are_not(build, tiny_images):
    index = build()
    features = index.extract(tiny_images)
    plain = index.scores(features)
    rectified = index.using(transform="rectified")
    assert np.array_equal(rectified.scores(features), np.maximum(plain, 0))
    assert (plain < 0).any()
    floor = index.using(transform="threshold", threshold_unit="error", threshold=2)
    noise = index.noise(features)
    expected = np.maximum(plain - 2 * noise.error, 0)
    assert_allclose(floor.scores(features), expected, rtol=1e-9, atol=1e-12)
    traces = zip(index.trace(features), floor.trace(features), expected, strict=True)
    for one, other, row in traces:
        assert [hit.row for hit in one.proponents] == [hit.row for hit in other.proponents]
        assert [hit.score for hit in one.opponents] == [hit.score for hit in other.opponents]
        credit = sum(total.credit for total in other.totals["contributor"])
        # A trace reads rows of float32; a score is exact to 1e-7 of its two sides' lengths.
        assert credit == pytest.approx(row.sum(), abs=1e-6 * np.abs(plain).max())
    assert floor.trace(features).settings["method"]["score_transform"]["transform"] == "threshold"


@pytest.mark.slow
def test_traces_know_their_noise(build, tiny_images):
    index = build()
    features = index.extract(tiny_images)
    noise, scores = index.noise(features), index.scores(features)
    traces = index.trace(features, top=12)
    for row, trace in enumerate(traces):
        above = (scores[row] > 3 * noise.error[row]).sum()
        assert trace.n_above_noise == above == sum(hit.is_above_noise for hit in trace.proponents)
        assert 0 <= trace.reliability <= 1
        for hit in trace.proponents:
            assert hit.error == pytest.approx(noise.error[row, hit.row])
        assert all(total.share_error > 0 for total in trace.totals["contributor"] if total.share)


@pytest.mark.slow
def test_without_halves_there_is_no_error(build, tiny_images):
    bare = build(halves=False, name="bare")
    assert bare.errors is None
    trace = bare.trace(tiny_images)[0]
    assert trace.n_above_noise is trace.reliability is trace.proponents[0].error is None
    with pytest.raises(SettingsError, match="and the index has none"):
        bare.noise(bare.extract(tiny_images))
    floor = bare.using(transform="threshold", threshold_unit="error")
    for ask in (floor.scores, floor.trace):
        with pytest.raises(SettingsError, match="two or more evaluations"):
            ask("no such image, and none is looked for")


@pytest.mark.slow
def test_halves_cost_no_feature_its_value(build, tiny_images):
    halved, complete = build(), build(halves=False, name="complete")
    assert_allclose(halved.features(), complete.features(), rtol=2e-2, atol=1e-4)
    assert_allclose(halved.scores(tiny_images), complete.scores(tiny_images), rtol=0.05, atol=1e-2)
