"""Scores split in two: what either part predicts, and whether it is noise."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.evaluation.lds.score import compute_lds, predict_outputs, score_outputs
from creditline_research.studies.top_scores import SHARES, judge_splits, split_outputs, split_scores
from creditline_research.tables.top_scores import top_score_table

RNG = np.random.default_rng(0)
M, N, QUERIES = 60, 40, 6
MASKS = np.stack([RNG.permutation(N) < N // 2 for _ in range(M)])
SCORES = RNG.standard_normal((QUERIES, N))


def losses_of(scores: np.ndarray) -> np.ndarray:
    """Those of a world in which the scores are true."""
    return -(MASKS @ scores.T)[:, None] + 0.01 * RNG.standard_normal((M, 1, QUERIES))


def judged(scores, losses, halves=()):
    outputs = [
        split_outputs(lambda shaped, s=s: predict_outputs(shaped(s), MASKS))
        for s in (scores, *halves)
    ]
    return judge_splits(outputs[0], lambda o: score_outputs(o, losses, resamples=20), outputs[1:])


@pytest.mark.parametrize("share", SHARES)
def test_the_parts_add_up_to_the_score(share):
    top, rest = split_scores(SCORES, share)
    assert_allclose(top + rest, SCORES, atol=1e-12)
    assert_allclose(rest.sum(1), 0, atol=1e-12)
    own, others = top == SCORES, rest != 0
    assert_allclose(own.sum(1), round(share * N))
    assert not (own & others).any()
    for row, top, left in zip(SCORES, own, others, strict=True):
        assert share == 1 or row[top].min() > row[left].max()


def test_a_split_at_all_images_is_the_score_itself():
    losses = losses_of(SCORES)
    everything = judged(SCORES, losses)[-1]
    assert everything.share == 1
    assert everything.rest is None
    assert_allclose(everything.top.per_query, compute_lds(SCORES, MASKS, losses).per_query)


def test_where_only_the_largest_matter_the_rest_predicts_nothing():
    top, _ = split_scores(SCORES, 0.2)
    splits = {split.share: split for split in judged(SCORES, losses_of(top))}
    assert splits[0.2].top.mean > 0.98
    assert splits[0.2].top.mean > splits[1.0].top.mean > splits[0.2].rest.mean
    assert abs(splits[0.2].rest.mean) < 0.15


@pytest.mark.slow
def test_halves_distinguish_noise_from_signal():
    real, noise = split_scores(SCORES, 0.2)[0], 0.2 * RNG.standard_normal((2, QUERIES, N))
    halves = real + noise
    for split in judged(halves.mean(0), losses_of(real), halves):
        if split.share == 0.2:
            assert split.top_reliability.mean() > 0.9
            assert split.rest_reliability.mean() < 0.6
    same = [split for split in judged(SCORES, losses_of(real), (SCORES, SCORES)) if split.rest]
    assert_allclose([split.rest_reliability for split in same], 1)


def test_a_part_of_the_queries():
    losses = losses_of(SCORES)
    some = [split.select(slice(1, 3)) for split in judged(SCORES, losses, (SCORES, SCORES))]
    alone = compute_lds(split_scores(SCORES, 0.5)[0], MASKS, losses).per_query[1:3]
    assert_allclose(next(split for split in some if split.share == 0.5).top.per_query, alone)
    assert all(split.top_reliability.shape == (2,) for split in some)


def test_equal_scores_distinguish_nothing():
    assert all(s.top is None and s.rest is None for s in judged(0 * SCORES, losses_of(SCORES)))


@pytest.mark.slow
def test_the_table():
    losses = losses_of(SCORES)
    with_noise, without = judged(SCORES, losses, (SCORES, SCORES)), judged(SCORES, losses)
    methods = [
        {"title": "TRAK", "top_scores": [split.to_dict() for split in with_noise]},
        {"title": "Datamodel", "top_scores": [split.to_dict() for split in without]},
        {"title": "Random"},
    ]
    text = top_score_table("icons", [(10, 1, {"methods": methods})])
    lines = text.splitlines()
    assert lines[2].startswith("| method | T | part | 2 % | 5 % |")
    assert [line.split(" | ")[:3] for line in lines[4:]] == [
        ["| TRAK", "10", "above"],
        ["| TRAK", "10", "below"],
        ["| TRAK", "10", "above, reliability"],
        ["| TRAK", "10", "below, reliability"],
        ["| Datamodel", "", "above"],
        ["| Datamodel", "", "below"],
    ]
    assert top_score_table("icons", [(10, 1, {"methods": [{"title": "Random"}]})]) == ""
