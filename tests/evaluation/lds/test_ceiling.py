"""The ceiling where the reliability of one training is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import spearmanr

from creditline.errors import DataError
from creditline.evaluation.lds.ceiling import compute_ceiling, spearman_brown
from creditline.evaluation.lds.score import compute_lds


def test_equal_seeds_agree_wholly(world):
    result = compute_ceiling(world(noise=0.0, S=3).losses)
    assert_allclose([result.seed_to_seed, result.mean_to_mean], 1.0)
    assert result.interval == (1.0, 1.0)


def test_the_mean_over_pairs(world):
    losses = world(noise=1.0, S=3).losses
    result = compute_ceiling(losses)
    for q in range(6):
        pairs = [(0, 1), (0, 2), (1, 2)]
        each = [spearmanr(losses[:, a, q], losses[:, b, q]).statistic for a, b in pairs]
        assert_allclose(result.per_query[q], np.mean(each))


@pytest.mark.slow
def test_stepping_up_predicts_a_second_retraining(world):
    """Two retrainings of 3 seeds each agree as Spearman and Brown predict from single seeds."""
    w = world(m=30, M=500, S=6, noise=1.5)
    first, second = w.losses[:, :3], w.losses[:, 3:]
    result = compute_ceiling(first, resamples=2)
    agreement = np.mean(
        [spearmanr(a, b).statistic for a, b in zip(first.mean(1).T, second.mean(1).T, strict=True)]
    )
    assert result.mean_to_mean == pytest.approx(agreement, abs=0.02)
    # A predictor without noise of its own reaches the square root.
    perfect = compute_lds(w.effects, w.masks, first, resamples=2).mean
    assert perfect == pytest.approx(np.sqrt(result.mean_to_mean), abs=0.02)
    assert result.share(result.mean_to_mean / 2) == pytest.approx(0.5)


def test_stepping():
    assert spearman_brown(0.5, 1) == 0.5
    assert spearman_brown(0.5, 2) == pytest.approx(2 / 3)
    assert spearman_brown(spearman_brown(0.3, 2), 3) == pytest.approx(spearman_brown(0.3, 6))
    assert spearman_brown(-0.1, 4) == -0.1


def test_seeds_that_do_not_agree_have_no_share(world):
    losses = np.random.default_rng(0).normal(size=(16, 2, 1))
    losses[:, 1] = -losses[:, 0] * (1 + 0.1 * losses[:, 0] ** 2)
    assert compute_ceiling(losses).share(0.1) is None


def test_one_seed_has_no_ceiling(world):
    with pytest.raises(DataError, match="1 seed"):
        compute_ceiling(world(S=1).losses)


def test_a_part(world):
    losses = world(noise=1.0).losses
    assert (
        compute_ceiling(losses).select([1, 2]).to_dict()
        == compute_ceiling(losses[:, :, 1:3]).to_dict()
    )
