from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from creditline.credit.totals import Total
from creditline.report.sentences import (
    answer,
    caption,
    credit_line,
    evidence,
    highest_by_chance,
    verdict,
)
from creditline.report.text import CAUSAL, SIMILARITY
from creditline.trace import Trace


def plain(text: str) -> str:
    return text.replace("\u2068", "").replace("\u2069", "")


def with_first_score(trace: Trace, score: float, z: float) -> Trace:
    query = trace[0]
    first = dataclasses.replace(query.proponents[0], score=score, z=z)
    query = dataclasses.replace(query, proponents=(first, *query.proponents[1:]))
    return dataclasses.replace(trace, queries=(query,))


def test_the_credit_line_names_the_first_image_and_the_first_contributor(make_trace):
    trace = make_trace(queries=1)
    hit = trace[0].proponents[0]
    line = plain(credit_line(trace, 0))
    assert line.startswith(f"Owes most to “{hit.row:03d}.png” by {hit.contributor} (+")
    best = next(total for total in trace[0].totals["contributor"] if total.name)
    assert best.name in line.split(";")[1]


def total(name: str | None, share: float, error: float | None = 0.01, chance: float | None = 0.02):
    return Total(name, 25, 1.0, 1.0, share, 1, error, chance)


def test_no_contributor_is_named_first_where_chance_would_do():
    named = [total("Ada", 0.29), total("Bob", 0.26), total("Cyn", 0.24), total(None, 0.21)]
    text = plain(verdict(named))
    assert "no contributor stands out: the largest share is 29 %, Ada’s" in text
    assert "chance would give 20 to 30 %" in text


def test_contributors_are_not_ranked_where_noise_may_turn_them_around():
    named = [total("Ada", 0.40, 0.02, 0.005), total("Bob", 0.38, 0.02), total("Cyn", 0.22)]
    assert "Ada and Bob have the largest shares" in plain(verdict(named))
    named = [total("Ada", 0.50), total("Bob", 0.28), total("Cyn", 0.22)]
    text = plain(verdict(named))
    assert "Ada has the largest share of positive credit, 50 %, with 33 % of the images" in text
    assert "where chance would give" in text


def test_without_errors_and_chance_the_largest_share_is_named():
    named = [total("Ada", 0.40, None, None), total("Bob", 0.38, None, None)]
    assert "Ada has the largest share" in plain(verdict(named))


def test_several_query_images_get_an_answer_for_all(make_trace):
    trace = make_trace(queries=3)
    assert answer(trace).startswith("Over 3 query images together, ")
    assert answer(make_trace(queries=1)) == ""
    assert answer(make_trace(queries=3, causal=False)) == ""
    assert answer(make_trace(queries=3, contributors=(None,))) == ""


def test_similarity_never_owes(make_trace):
    trace = make_trace(queries=1, causal=False)
    assert credit_line(trace, 0).startswith("Most similar to")
    for text in (credit_line(trace, 0), evidence(trace, 0), repr(SIMILARITY)):
        assert "owe" not in text.lower()
        assert "credit" not in text.lower()
    assert "Owes" in repr(CAUSAL)


def test_no_image_is_named_below_zero(make_trace):
    trace = with_first_score(make_trace(queries=1), -0.1, 3.0)
    assert credit_line(trace, 0) == "No training image scores above zero for this query image."


def test_without_contributors_the_line_stops_at_the_image(make_trace):
    line = plain(credit_line(make_trace(queries=1, contributors=(None,)), 0))
    assert line.endswith("the mean).")
    assert " by " not in line


def test_the_highest_by_chance_agrees_with_draws():
    draws = np.random.default_rng(0).normal(size=(4000, 200)).max(axis=1).mean()
    assert highest_by_chance(200) == pytest.approx(draws, abs=0.03)
    assert highest_by_chance(1) == 0


def test_evidence_grows_with_the_distance(make_trace):
    trace = make_trace(queries=1)
    chance = highest_by_chance(trace.n_train)
    verdicts = [evidence(with_first_score(trace, 1.0, z * chance), 0) for z in (0.9, 1.2, 2.0)]
    assert "does not stand out" in verdicts[0]
    assert "stands out a little" in verdicts[1]
    assert "stands out:" in verdicts[2]


def test_captions_come_before_file_names():
    assert caption("a red fox", "train/fox.png") == "a red fox"
    assert caption(None, "train/fox.png") == "fox.png"
    assert caption("", "train/") == "train"
