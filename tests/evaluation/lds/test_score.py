"""LDS by its identities: the truth scores 1, its negative -1, chance 0, whatever the scale."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import spearmanr

from creditline.errors import DataError
from creditline.evaluation.lds.contributors import has_varying_shares, predict_from_totals
from creditline.evaluation.lds.correlation import spearman
from creditline.evaluation.lds.score import (
    compute_difference,
    compute_lds,
    predict_outputs,
    score_outputs,
)
from creditline.evaluation.truth.ground_truth import GroundTruth


def test_the_truth_scores_one_and_its_negative_minus_one(world):
    w = world()
    assert_allclose(compute_lds(w.effects, w.masks, w.losses).per_query, 1.0)
    result = compute_lds(-w.effects, w.masks, w.losses)
    assert_allclose(result.per_query, -1.0)
    assert result.interval == (-1.0, -1.0)


def test_the_definition_spelled_out(world):
    w = world(noise=1.0)
    scores = np.random.default_rng(1).normal(size=w.effects.shape) + w.effects
    result = compute_lds(scores, w.masks, w.losses)
    for q, value in enumerate(result.per_query):
        outputs = [sum(scores[q][mask]) for mask in w.masks]
        losses = w.losses[:, :, q].mean(1)
        assert_allclose(value, spearmanr(outputs, -losses).statistic)
    assert result.mean == pytest.approx(result.per_query.mean())


def test_scale_and_per_query_offsets_change_nothing(world):
    w = world(noise=1.0)
    a = compute_lds(w.effects, w.masks, w.losses)
    scale = np.array([[0.5], [2], [3], [1e-6], [1e6], [1]])
    offsets = np.arange(6) * 100.0
    # Subsets are of equal size, so a constant for all images of a query is one for all subsets.
    b = compute_lds(w.effects * scale + 4.0, w.masks.astype(int), w.losses * 7 + offsets)
    assert_allclose(a.per_query, b.per_query)
    assert_allclose(a.resampled, b.resampled)


def test_queries_and_subsets_in_any_order(world):
    w = world(noise=1.0)
    a = compute_lds(w.effects, w.masks, w.losses)
    q, j = np.random.default_rng(0).permutation(6), np.random.default_rng(1).permutation(64)
    b = compute_lds(w.effects[q], w.masks[j], w.losses[j][:, :, q])
    assert_allclose(b.per_query, a.per_query[q])


def test_one_seed_may_come_without_its_axis(world):
    w = world(S=1, noise=0.5)
    a, b = (compute_lds(w.effects, w.masks, x) for x in (w.losses, w.losses[:, 0]))
    assert_allclose(a.per_query, b.per_query)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_the_interval_covers_what_all_subsets_find(world, noise):
    """Also where LDS is high and queries are many, so that small-sample bias exceeds the spread."""
    w = world(m=20, M=64 * 30, noise=noise, S=1)
    outputs = predict_outputs(w.effects, w.masks)
    truth, held = spearman(outputs, -w.losses[:, 0].T).mean(), []
    for start in range(0, 64 * 30, 64):
        rows = slice(start, start + 64)
        low, high = score_outputs(outputs[:, rows], w.losses[rows], resamples=200).interval
        held.append(low <= truth <= high)
    assert np.mean(held) > 0.8


@pytest.mark.slow
def test_chance_is_zero(world):
    w = world(m=200)
    result = compute_lds(np.random.default_rng(9).normal(size=w.effects.shape), w.masks, w.losses)
    assert abs(result.mean) < 0.04
    low, high = result.query_interval
    assert low < 0 < high


def test_the_papers_form_lies_below_the_point(world):
    w = world(m=40, noise=1.0)
    result = compute_lds(w.effects, w.masks, w.losses)
    mean, std = result.bootstrap_mean_and_std
    assert 0 < result.mean - mean < 0.02
    assert 0 < std < 0.1


def test_convergence_averages_disjoint_groups(world):
    w = world(noise=1.0)
    result = compute_lds(w.effects, w.masks, w.losses)
    assert list(result.convergence) == [8, 16, 32, 64]
    halves = [
        compute_lds(w.effects, w.masks[r], w.losses[r]) for r in (slice(0, 32), slice(32, 64))
    ]
    expected = (halves[0].per_query + halves[1].per_query) / 2
    assert_allclose(result.convergence[32], expected)
    assert_allclose(result.convergence[64], result.per_query)


def test_a_part_is_the_score_of_those_queries(world):
    w = world(noise=1.0)
    full = compute_lds(w.effects, w.masks, w.losses)
    alone = compute_lds(w.effects[2:4], w.masks, w.losses[:, :, 2:4])
    for part in (full.select(slice(2, 4)), full.select([2, 3])):
        assert part.to_dict() == alone.to_dict()
    assert json.loads(json.dumps(alone.to_dict()))["lds"] == alone.mean


def test_a_paired_difference_is_sharper_than_two_intervals(world):
    w = world(m=40, noise=2.0)
    rng = np.random.default_rng(5)
    a = compute_lds(w.effects, w.masks, w.losses)
    b = compute_lds(w.effects + 0.5 * rng.normal(size=w.effects.shape), w.masks, w.losses)
    gain = compute_difference(a, b)
    assert gain.mean == pytest.approx(a.mean - b.mean)
    assert gain.interval[0] > 0
    paired = gain.interval[1] - gain.interval[0]
    assert paired < a.interval[1] - a.interval[0]
    same = compute_difference(a, a)
    assert (same.mean, same.interval, same.query_interval) == (0.0, (0.0, 0.0), (0.0, 0.0))
    with pytest.raises(DataError, match="seed 1"):
        compute_difference(a, compute_lds(w.effects, w.masks, w.losses, seed=1))


def test_folds_are_ranked_apart(world):
    """An offset between folds, as between two fits, must not count."""
    w = world(noise=0.0)
    outputs = predict_outputs(w.effects, w.masks)
    folds = [np.arange(0, 64, 2), np.arange(1, 64, 2)]
    outputs[:, folds[1]] += 1000.0
    assert score_outputs(outputs, w.losses).mean < 0.9
    result = score_outputs(outputs, w.losses, folds=folds)
    assert_allclose(result.per_query, 1.0)
    assert result.convergence == {}


def test_totals_of_contributors(world):
    """Losses that depend on contributors only: totals know all, whatever an image's own score."""
    w = world(n=30, M=64)
    group = np.arange(30) % 5
    people = [f"artist {g}" if g else None for g in group]
    effect = np.array([3.0, 1.0, -1.0, 0.5, 2.0])
    losses = -(w.masks @ effect[group])[:, None] + np.zeros(6)
    scores = effect[group] + 10 * np.random.default_rng(0).normal(size=(6, 30))
    for g in range(5):
        members = group == g
        scores[:, members] += effect[g] - scores[:, members].mean(1, keepdims=True)
    assert_allclose(
        score_outputs(predict_from_totals(scores, w.masks, people), losses).per_query, 1.0
    )
    assert compute_lds(scores, w.masks, losses).mean < 0.5


def test_leaving_contributors_out_makes_totals_plain_lds(world):
    group = np.repeat(np.arange(10), 3)
    masks = group != np.arange(10)[:, None]
    scores, losses = np.random.default_rng(0).normal(size=(4, 30)), world(m=4, M=10).losses
    a = score_outputs(predict_from_totals(scores, masks, [str(g) for g in group]), losses)
    assert_allclose(a.per_query, compute_lds(scores, masks, losses).per_query)


def test_totals_need_shares_that_differ(world):
    w = world()
    assert not has_varying_shares(w.masks, ["one"] * 30)
    masks = np.tile([[1, 0, 1, 0], [0, 1, 0, 1]], (4, 1))
    assert not has_varying_shares(masks, list("aabb"))
    assert has_varying_shares(masks, list("abab"))


def test_a_prediction_that_is_the_same_for_all_subsets_scores_nothing(world):
    w = world()
    assert compute_lds(np.ones_like(w.effects), w.masks, w.losses).mean == 0.0


def test_masks_that_do_not_fit(world):
    w = world()
    for masks, message in [
        (w.masks[:, :-1], "one column for each of 30"),
        (w.masks.T, "transposed"),
        (w.masks[0], r"\(subsets, training images\)"),
        (w.masks * 2, "only 0 and 1; got int64 values such as 2"),
        (w.masks.astype(str), "only 0 and 1"),
        (w.masks[:7], "7 subsets are too few"),
    ]:
        with pytest.raises(DataError, match=message):
            compute_lds(w.effects, masks, w.losses)


def test_losses_that_do_not_fit(world):
    w = world()
    names = [f"{q}.png" for q in range(6)]
    missing, flat = w.losses.copy(), w.losses.copy()
    missing[9, 1, 2] = np.nan
    flat[:, :, 4] = 1.5
    for losses, message in [
        (w.losses[:9], "each of 64 subsets"),
        (w.losses[:, 0, 0], r"\(subsets, seeds, queries\)"),
        (w.losses[..., :5], "each of 6 queries"),
        (missing, "1 of 64 subsets .* subset 9, seed 1, query 2.png"),
        (flat, "query 4.png is the same under all 64"),
    ]:
        with pytest.raises(DataError, match=message):
            compute_lds(w.effects, w.masks, losses, query_names=names)
    keep = GroundTruth(w.masks, missing).finished.all(1)
    assert keep.sum() == 63
    assert not keep[9]
    assert_allclose(compute_lds(w.effects, w.masks[keep], missing[keep]).per_query, 1.0)
    with pytest.raises(DataError, match="scores of 6 queries and losses of 5"):
        compute_lds(w.effects, w.masks, w.losses[..., :5])


def test_scores_that_do_not_fit(world):
    w = world()
    broken = w.effects.copy()
    broken[3, 3] = np.nan
    with pytest.raises(DataError, match="1 of 6 queries are not finite, first query 3"):
        compute_lds(broken, w.masks, w.losses)
    with pytest.raises(DataError, match=r"\(queries, training images\)"):
        compute_lds(w.effects[0], w.masks, w.losses)
