"""Which images a subset holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditline.data.image_set import ImageSet
from creditline.errors import DataError, SettingsError
from creditline.evaluation.truth.subsets import (
    SubsetSpec,
    _draw_sizes,
    _groups,
    _proportional_sizes,
    draw_masks,
)


def images(labels=None, contributors=None, n=12):
    pixels = np.arange(n, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    return ImageSet.from_images(pixels, labels=labels, contributors=contributors)


def test_a_subset_depends_on_its_number_and_the_seed_alone():
    few, many = (draw_masks(SubsetSpec(subsets=m), images()) for m in (8, 30))
    assert few.dtype == bool
    assert (many[:8] == few).all()
    assert (few.sum(1) == 6).all()
    other = draw_masks(SubsetSpec(subsets=8, subset_seed=1), images())
    assert (other != few).any(1).all()
    assert len({row.tobytes() for row in many}) > 25


def test_every_image_is_as_likely_as_every_other():
    masks = draw_masks(SubsetSpec(subsets=2000, alpha=0.25), images())
    # Standard error of a rate: sqrt(0.25 * 0.75 / 2000) = 0.0097.
    assert np.abs(masks.mean(0) - 0.25).max() < 5 * 0.0097


def test_strata_keep_their_proportions():
    labels = [0] * 5 + [3] * 4 + [1] * 3
    spec = SubsetSpec(subsets=40, stratify="label")
    masks = draw_masks(spec, images(labels))
    # Halves 2.5, 2 and 1.5 of 5, 4 and 3: the missing one goes to the smaller label.
    counts = {tuple(sorted(Counter(np.array(labels)[mask]).items())) for mask in masks}
    assert counts == {((0, 3), (1, 1), (3, 2))}
    people = [f"artist {label}" for label in labels]
    by_person = draw_masks(replace(spec, stratify="contributor"), images(contributors=people))
    assert (by_person == masks).all()


@pytest.mark.slow
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=40),
    st.floats(0.01, 0.99).map(lambda a: round(a, 2)),
)
def test_shares_add_up_and_are_never_a_whole_image_off(values, alpha):
    groups = _groups(values)
    sizes = _proportional_sizes(groups, alpha)
    assert abs(sum(sizes) - alpha * len(values)) <= 0.5 + 1e-9
    for members, size in zip(groups, sizes, strict=True):
        assert abs(size - alpha * members.sum()) < 1 + 1e-9


@pytest.mark.slow
def test_every_way_of_filling_a_subset_is_equally_likely():
    groups = _groups(["a"] * 3 + ["b"] * 2 + ["c"] * 4)
    generator = np.random.default_rng(0)
    samples = Counter(tuple(_draw_sizes(groups, 5, generator)) for _ in range(5500))
    possible = {(a, b, 5 - a - b) for a in range(4) for b in range(3) if 0 <= 5 - a - b <= 4}
    assert len(possible) == 11
    assert set(samples) == possible
    # Standard deviation of a count of 5500 / 11: sqrt(500 * 10 / 11) = 21.3.
    assert max(abs(count - 500) for count in samples.values()) < 5 * 21.3


def test_shares_of_contributors_vary_and_the_size_does_not():
    people = [f"artist {i % 3}" for i in range(12)]
    spec = SubsetSpec(subsets=40, scheme="contributor-shares")
    masks = draw_masks(spec, images(contributors=people))
    assert (masks.sum(1) == 6).all()
    assert (draw_masks(replace(spec, subsets=8), images(contributors=people)) == masks[:8]).all()
    counts = masks @ (np.array(people)[:, None] == np.unique(people)).astype(int)
    assert (counts.min(0) == 0).all()
    assert (counts.max(0) == 4).all()
    within = masks[:, ::3][(counts[:, 0] == 2)]
    assert len({row.tobytes() for row in within}) > 1, "which of an artist's images is drawn too"


def test_contributors_are_left_out_in_turn():
    people = ["b", "a", None, "b"]
    masks = draw_masks(SubsetSpec(scheme="leave-one-contributor-out"), images(None, people, 4))
    assert masks.tolist() == [[True, False, True, True], [False, True, True, False]]


def test_images_are_left_out_in_turn():
    masks = draw_masks(SubsetSpec(scheme="leave-one-out"), images(n=3))
    assert (masks == ~np.eye(3, dtype=bool)).all()


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(SettingsError, match="Did you mean 'label'"):
        SubsetSpec(stratify="labels")
    with pytest.raises(SettingsError, match="Unknown scheme 'jackknife'"):
        SubsetSpec(scheme="jackknife")
    with pytest.raises(SettingsError, match="subsets must be at least 8; got 7"):
        SubsetSpec(subsets=7)
    with pytest.raises(SettingsError, match="alpha"):
        SubsetSpec(alpha=1.0)
    with pytest.raises(DataError, match=r"12 of 12 images have no label.*00000\.png"):
        draw_masks(SubsetSpec(stratify="label"), images())
    with pytest.raises(DataError, match="12 of 12 images have no contributor"):
        draw_masks(SubsetSpec(scheme="contributor-shares"), images())
    with pytest.raises(DataError, match="at least two; memory has 1"):
        draw_masks(SubsetSpec(scheme="contributor-shares"), images(contributors=["ada"] * 12))
    with pytest.raises(SettingsError, match="Only random subsets are stratified"):
        SubsetSpec(scheme="contributor-shares", stratify="label")
    with pytest.raises(DataError, match="would have 0"):
        draw_masks(SubsetSpec(alpha=0.01), images())
    with pytest.raises(DataError, match="at least two; memory has 0"):
        draw_masks(SubsetSpec(scheme="leave-one-contributor-out"), images())
