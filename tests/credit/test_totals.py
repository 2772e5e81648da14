"""Totals of one query by group; shares and their errors."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from creditline.credit.totals import average, chance_intervals, tally
from creditline.errors import SettingsError
from creditline.methods.score_noise import ScoreNoise
from creditline.methods.score_transform import ScoreTransform, TransformName

RNG = np.random.default_rng(0)
SCORES = RNG.standard_normal(400)
GROUPS = [("ada", "bob", None, "cyn")[i % 4] for i in range(400)]


def noise(query=0.1, train=0.1, seed=1):
    rng = np.random.default_rng(seed)
    parts = (size * rng.standard_normal((1, 400)) for size in (query, train))
    return ScoreNoise(*parts, np.ones(400))


@pytest.mark.parametrize("shape", get_args(TransformName))
def test_shares_add_up_and_are_never_negative(shape):
    totals = tally(SCORES, GROUPS, [], ScoreTransform(shape), noise())
    assert sum(total.share for total in totals) == pytest.approx(1)
    assert all(total.share >= 0 for total in totals)
    assert sum(total.score for total in totals) == pytest.approx(SCORES.sum())
    credit = ScoreTransform(shape).credit(SCORES)
    assert sum(total.credit for total in totals) == pytest.approx(credit.sum())
    for total in totals:
        low, high = total.share_interval
        assert 0 <= low <= total.share <= high <= 1
        assert total.share_error > 0


def test_a_plain_shape_shares_the_positive_scores():
    for total in tally(SCORES, GROUPS, []):
        mine = SCORES[[group == total.name for group in GROUPS]]
        assert total.credit == pytest.approx(np.maximum(mine, 0).sum())
        assert total.share_interval is None


def test_errors_of_shares_are_those_of_fresh_noise():
    stated = {t.name: t.share_error for t in tally(SCORES, GROUPS, [], None, noise(0, 0.5))}
    seen = {name: [] for name in stated}
    rng = np.random.default_rng(5)
    for _ in range(300):
        again = tally(SCORES + 0.5 * rng.standard_normal(400), GROUPS, [])
        for total in again:
            seen[total.name].append(total.share)
    for name, shares in seen.items():
        assert stated[name] == pytest.approx(np.std(shares), rel=0.35)


def test_what_the_query_s_noise_does_to_one_group_is_in_its_error():
    together = np.array([[0.5 if group == "ada" else 0.0 for group in GROUPS]])
    of_query = ScoreNoise(together, np.zeros((1, 400)), np.ones(400))
    result = {t.name: t.share_error for t in tally(SCORES, GROUPS, [], None, of_query)}
    independent = tally(SCORES, GROUPS, [], None, noise(0, 0.25))
    assert result["ada"] > 3 * {t.name: t.share_error for t in independent}["ada"]


def test_errors_are_the_same_every_time():
    assert tally(SCORES, GROUPS, [], None, noise()) == tally(SCORES, GROUPS, [], None, noise())


def test_nothing_above_the_threshold_is_nobody_s():
    shape = ScoreTransform("threshold", threshold=50)
    assert {t.share for t in tally(SCORES, GROUPS, [], shape, noise())} == {0.0}


def test_a_floor_without_errors_is_refused():
    with pytest.raises(SettingsError, match="two or more evaluations"):
        tally(SCORES, GROUPS, [], ScoreTransform("threshold", threshold_unit="error"))


def test_totals_add_up_to_the_scores_of_all_training_images():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=50)
    groups = [("a", "b", None)[i] for i in rng.integers(0, 3, 50)]
    totals = tally(scores, groups, top=[0, 1, 2, 3])
    assert sum(total.n for total in totals) == 50
    assert sum(total.top for total in totals) == 4
    assert sum(total.score for total in totals) == pytest.approx(scores.sum())
    assert sum(total.credit for total in totals) == pytest.approx(scores[scores > 0].sum())
    assert sum(total.share for total in totals) == pytest.approx(1)
    assert [total.share for total in totals] == sorted((t.share for t in totals), reverse=True)
    for total in totals:
        mine = np.array([group == total.name for group in groups])
        assert total.score == pytest.approx(scores[mine].sum())
        assert total.n == mine.sum()


def test_totals_do_not_depend_on_the_order_of_images():
    rng = np.random.default_rng(1)
    scores, groups = rng.normal(size=30), [f"artist {i}" for i in rng.integers(0, 4, 30)]
    order = rng.permutation(30)
    straight = tally(scores, groups, [])
    shuffled = tally(scores[order], [groups[i] for i in order], [])
    assert [t.name for t in straight] == [t.name for t in shuffled]
    assert [t.score for t in straight] == pytest.approx([t.score for t in shuffled])


def test_without_positive_scores_every_share_is_zero():
    totals = tally(np.array([-1.0, -2.0, 0.0]), ["a", "b", "b"], top=[])
    assert {total.share for total in totals} == {0.0}


def test_groups_must_match_scores():
    with pytest.raises(SettingsError, match="3 scores"):
        tally(np.zeros(3), ["a", "b"], [])


def test_chance_is_that_of_images_assigned_at_random():
    rng = np.random.default_rng(3)
    groups = np.array(["big"] * 250 + ["small"] * 110 + ["tiny"] * 40)
    totals = tally(SCORES, list(groups), [])
    stated = {t.name: t for t in totals}
    intervals = dict(zip(stated, chance_intervals(totals), strict=True))
    seen = {name: [] for name in stated}
    for _ in range(2000):
        for total in tally(SCORES, list(rng.permutation(groups)), []):
            seen[total.name].append(total.share)
    inside = np.ones(2000, dtype=bool)
    for name, shares in seen.items():
        assert stated[name].chance == pytest.approx(np.std(shares), rel=0.08)
        low, high = intervals[name]
        assert low < stated[name].n / 400 < high
        inside &= (low <= np.array(shares)) & (np.array(shares) <= high)
    assert 0.94 < inside.mean() < 0.985


def test_chance_of_one_group_and_of_no_credit_is_certain():
    assert tally(SCORES, ["ada"] * 400, [])[0].chance == 0
    totals = tally(-np.ones(4), ["ada", "bob"] * 2, [])
    assert [total.chance for total in totals] == [0, 0]


def test_the_chance_of_a_mean_is_no_smaller_than_that_of_equal_queries():
    parts = tally(SCORES, GROUPS, [])
    both = average([parts, parts])
    assert {t.name: t.chance for t in both} == {t.name: t.chance for t in parts}
