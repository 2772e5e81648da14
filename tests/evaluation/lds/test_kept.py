"""Scores split in two: what either part foretells, and whether it is noise."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.benchmarks.kept_page import kept_table
from creditline.evaluation.lds.kept import SHARES, kept_scores, split, split_outputs
from creditline.evaluation.lds.score import lds, predict_outputs, score_outputs

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
    return kept_scores(outputs[0], lambda o: score_outputs(o, losses, resamples=20), outputs[1:])


@pytest.mark.parametrize("share", SHARES)
def test_the_parts_add_up_to_the_score(share):
    top, rest = split(SCORES, share)
    assert_allclose(top + rest, SCORES, atol=1e-12)
    assert_allclose(rest.sum(1), 0, atol=1e-12)
    own, others = top == SCORES, rest != 0
    assert_allclose(own.sum(1), round(share * N))
    assert not (own & others).any()
    for row, kept, left in zip(SCORES, own, others, strict=True):
        assert share == 1 or row[kept].min() > row[left].max()


def test_all_kept_is_the_score_itself():
    losses = losses_of(SCORES)
    everything = judged(SCORES, losses)[-1]
    assert everything.share == 1
    assert everything.rest is None
    assert_allclose(everything.top.per_query, lds(SCORES, MASKS, losses).per_query)


def test_where_only_the_largest_matter_the_rest_foretells_nothing():
    top, _ = split(SCORES, 0.2)
    found = {kept.share: kept for kept in judged(SCORES, losses_of(top))}
    assert found[0.2].top.mean > 0.98
    assert found[0.2].top.mean > found[1.0].top.mean > found[0.2].rest.mean
    assert abs(found[0.2].rest.mean) < 0.15


def test_halves_tell_noise_from_what_they_share():
    real, noise = split(SCORES, 0.2)[0], 0.2 * RNG.standard_normal((2, QUERIES, N))
    halves = real + noise
    for kept in judged(halves.mean(0), losses_of(real), halves):
        if kept.share == 0.2:
            assert kept.top_reliability.mean() > 0.9
            assert kept.rest_reliability.mean() < 0.6
    same = [kept for kept in judged(SCORES, losses_of(real), (SCORES, SCORES)) if kept.rest]
    assert_allclose([kept.rest_reliability for kept in same], 1)


def test_a_part_of_the_queries():
    losses = losses_of(SCORES)
    some = [kept.part(slice(1, 3)) for kept in judged(SCORES, losses, (SCORES, SCORES))]
    alone = lds(split(SCORES, 0.5)[0], MASKS, losses).per_query[1:3]
    assert_allclose(next(kept for kept in some if kept.share == 0.5).top.per_query, alone)
    assert all(kept.top_reliability.shape == (2,) for kept in some)


def test_equal_scores_tell_nothing_apart():
    assert all(k.top is None and k.rest is None for k in judged(0 * SCORES, losses_of(SCORES)))


def test_the_table():
    losses = losses_of(SCORES)
    with_noise, without = judged(SCORES, losses, (SCORES, SCORES)), judged(SCORES, losses)
    methods = [
        {"title": "TRAK", "kept": [kept.to_dict() for kept in with_noise]},
        {"title": "Datamodel", "kept": [kept.to_dict() for kept in without]},
        {"title": "Random"},
    ]
    text = kept_table("icons", [(10, 1, {"methods": methods})])
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
    assert kept_table("icons", [(10, 1, {"methods": [{"title": "Random"}]})]) == ""
