"""The paper's splits, against the ids that the authors' notebooks print."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.errors import SettingsError
from creditline_research.paper.splits import (
    FAMILIES,
    PaperSplit,
    counterfactual_queries,
    draw,
    validation,
)

CIFAR2 = (1, 7)


def by_class(classes, each):
    """Labels of a pool ordered by class, and each image's place within its class."""
    return np.repeat(classes, each), np.tile(np.arange(each), len(classes))


@pytest.fixture(scope="module")
def cifar2():
    labels, places = by_class(CIFAR2, 5000)
    return PaperSplit.of(10_000, 5000, labels), labels, places


def test_the_60_counterfactual_queries():
    rows = counterfactual_queries(1000, 60, 42)
    assert len(rows) == len(set(rows.tolist())) == 60
    assert rows[:5].tolist() == [521, 737, 740, 660, 411]
    assert counterfactual_queries(1000, 60, 0)[:5].tolist() == [993, 859, 298, 553, 672]


def test_celeba_has_no_classes_and_is_drawn_exactly():
    split = PaperSplit.of(162_770, 5000)
    assert split.order[:5].tolist() == [48803, 28992, 118843, 86803, 153263]
    rows = 162_770 + validation(19_867, 1000)[:5]
    assert rows.tolist() == [167013, 179842, 176165, 167714, 180120]


def test_cifar2_validation():
    """The notebook's ids 7405, 5226, ... and their classes, without CIFAR-10's labels.

    A tenth of all images are of a class and they are in random order, so the i-th of 1,000 lies
    near id 10 i; a wrong draw would be off by thousands.
    """
    labels, places = by_class(CIFAR2, 1000)
    rows = validation(2000, 1000, labels)[:5]
    assert labels[rows].tolist() == [7, 1, 1, 7, 7]
    np.testing.assert_allclose(10 * places[rows], [7405, 5226, 1363, 6615, 7612], atol=200)


def test_cifar10_validation():
    labels, places = by_class(range(10), 1000)
    rows = validation(10_000, 1000, labels)[:5]
    assert labels[rows].tolist() == [4, 5, 6, 9, 9]
    np.testing.assert_allclose(10 * places[rows], [9128, 5468, 62, 2465, 2810], atol=200)


@pytest.mark.parametrize(
    ("k", "ids"),
    [(0, [10392, 44460, 16163, 49891, 13381]), (8, [4871, 21837, 20107, 553, 20868])],
)
def test_cifar2_subsets(cifar2, k, ids):
    split, _, places = cifar2
    rows = split.subset("lds-val", k)
    assert len(rows) == 2500
    np.testing.assert_allclose(10 * places[rows[:5]], ids, atol=500)


@pytest.mark.parametrize(
    ("k", "ids"),
    [(0, [10936, 11178, 26489, 22034, 14307]), (8, [6591, 35601, 1087, 17631, 28857])],
)
def test_cifar10_subsets_are_drawn_from_all_images_in_order(k, ids):
    """Here the pool's order shows in nothing but the looking up, so any order will do."""
    labels, places = by_class(range(10), 5000)
    split = PaperSplit.of(50_000, 50_000, labels)
    np.testing.assert_array_equal(split.order, np.arange(50_000))
    rows = split.subset("lds-val", k)[:5]
    np.testing.assert_allclose(10 * places[rows], ids, atol=500)


def test_the_same_images_from_data_in_another_order(cifar2):
    split, labels, _ = cifar2
    mixed = np.random.default_rng(0).permutation(labels)
    where = np.concatenate([np.flatnonzero(mixed == c) for c in CIFAR2])  # of each image by class
    other = PaperSplit.of(10_000, 5000, mixed)
    np.testing.assert_array_equal(other.order, where[split.order])
    np.testing.assert_array_equal(other.subset("retrain", 3), where[split.subset("retrain", 3)])


def test_masks_have_the_subsets_in_the_order_of_positions(cifar2):
    split, labels, _ = cifar2
    masks = split.masks("lds-val", 3)
    assert masks.shape == (3, 5000)
    assert masks.dtype == bool
    for k, mask in enumerate(masks):
        positions = split.images[mask]
        assert sorted(split.subset("lds-val", k).tolist()) == positions.tolist()
        assert np.bincount(labels[positions])[list(CIFAR2)].tolist() == [1250, 1250]


def test_families_overlap_as_the_authors_do(cifar2):
    split, _, _ = cifar2
    for family, later in (("lds-val", "lds-test"), ("lds-test", "retrain")):
        np.testing.assert_array_equal(split.subset(family, 128), split.subset(later, 0))


def test_what_cannot_be_drawn_is_refused(cifar2):
    split, _, _ = cifar2
    with pytest.raises(SettingsError, match="lds-val"):
        split.subset("lds-vla", 0)
    last = FAMILIES["lds-val"][1]
    with pytest.raises(SettingsError, match="subsets 0 to 255"):
        split.subset("lds-val", last)
    with pytest.raises(SettingsError, match="larger scale"):
        draw(100, 3, 0, np.repeat(np.arange(10), 10))
    with pytest.raises(SettingsError, match="at least 1 image"):
        draw(0, 3, 0)
    np.testing.assert_array_equal(draw(5, 7, 0), np.arange(5))
