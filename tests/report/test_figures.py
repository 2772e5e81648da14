from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditline.credit.totals import Total
from creditline.errors import DataError
from creditline.report.figures import (
    MAX_GROUPS,
    ChartAxis,
    clean,
    data_uri,
    display_width,
    group_table,
    percent,
    shorten,
    signed,
    size,
)

SCORES = st.lists(st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-9), min_size=1)


@given(SCORES)
def test_bars_of_one_axis_stay_inside_and_meet_at_zero(scores):
    axis = ChartAxis.over(scores)
    for score in scores:
        left, width = axis.bar(score)
        assert left >= -0.1
        assert left + width <= 100.2
        end = left if score >= 0 else left + width
        assert end == pytest.approx(axis.zero, abs=0.15)


def test_bars_are_proportional_to_scores():
    axis = ChartAxis.over([4.0, 1.0, -2.0])
    assert axis.zero == pytest.approx(33.3)
    widths = [axis.bar(score)[1] for score in (4.0, 1.0, -2.0)]
    assert np.array(widths) / widths[1] == pytest.approx([4, 1, 2], rel=0.01)


def test_an_axis_without_any_score_has_no_bar():
    assert ChartAxis.over([]).bar(0.0) == (0.0, 0.0)
    assert ChartAxis.over([0.0, 0.0]).number(0.0) == "0.00"


@pytest.mark.parametrize(
    ("scores", "value", "text"),
    [
        ([0.0342], 0.0342, "+0.0342"),
        ([0.0342], -0.001, "−0.0010"),
        ([0.0342], 0.00001, "0.0000"),
        ([123.4], 7.0, "+7"),
        ([-5.25], -5.25, "−5.25"),
        ([3.2e-7], 3.2e-7, "+3.20×10⁻⁷"),
        ([4.5e8], -9e7, "−0.90×10⁸"),
    ],
)
def test_numbers_of_one_axis_share_their_decimals(scores, value, text):
    assert ChartAxis.over(scores).number(value) == text


def test_signs_are_shown_and_never_before_zero():
    assert [signed(x, 1) for x in (1.25, -1.25, 0.0, -0.01)] == ["+1.2", "−1.2", "0.0", "0.0"]


def test_a_small_share_is_not_nothing():
    assert [percent(x) for x in (0, 0.001, 0.2, 1)] == ["0 %", "under 1 %", "20 %", "100 %"]


@pytest.mark.parametrize("side", [8, 16, 24, 28, 32, 48, 64, 95])
def test_small_images_grow_by_whole_factors(side):
    width = display_width(side, side, 128)
    assert width % side == 0
    assert width <= 128 < width + side


def test_large_images_fill_the_box_and_keep_their_shape():
    assert display_width(512, 512, 128) == 128
    assert display_width(256, 512, 128) == 64


def test_images_are_png_or_refused(png):
    rng = np.random.default_rng(0)
    assert size(png(rng, 7, 5)) == (7, 5)
    with pytest.raises(DataError, match="PNG"):
        data_uri(b"\xff\xd8\xff\xe0 not a PNG")


@pytest.mark.slow
@given(st.text(max_size=300), st.integers(5, 80))
def test_shortened_text_fits_and_has_no_controls(text, limit):
    short = shorten(text, limit)
    assert len(short) <= limit
    assert not set(short) & set("\u202a\u202e\u2066\u2069\n\r\t\x00")
    if len(clean(text)) <= limit:
        assert short == clean(text)


def total(i: int, name: str | None = "artist", share: float = 0.1) -> Total:
    return Total(f"{name} {i}" if name else None, 2, -(1.0 + i), share, share, 1)


def test_many_groups_are_merged_without_loss():
    totals = [total(i, share=1 / 40) for i in range(40)]
    table = group_table(totals, n_train=80, colors={"artist 0": "c0"})
    assert len(table.rows) == MAX_GROUPS + 1
    assert table.rows[-1].merged
    assert sum(row.n for row in table.rows) == 80
    assert sum(row.share for row in table.rows) == pytest.approx(1)
    assert sum(row.score for row in table.rows) == pytest.approx(sum(t.score for t in totals))
    assert [row.color for row in table.rows[:2]] == ["c0", "cx"]


def test_per_image_compares_credit_with_size():
    row = group_table([total(0, share=0.5)], n_train=8, colors={}).rows[0]
    assert row.of_training == 0.25
    assert row.per_image == "2.0×"


def test_unknown_groups_alone_make_no_table():
    assert group_table([total(0, name=None)], n_train=2, colors={}) is None
