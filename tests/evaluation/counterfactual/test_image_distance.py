"""Distances between pictures."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.errors import DataError, ModelError
from creditline.evaluation.counterfactual.image_distance import measure_distances


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)


def mean_color(pictures):
    return np.stack([np.asarray(p, dtype=np.float64).mean((0, 1)) for p in pictures])


def test_equal_pictures_are_at_no_distance(pictures):
    same = measure_distances(pictures, pictures.copy(), mean_color)
    assert not same.l2.any()
    assert not same.mse.any()
    np.testing.assert_allclose(same.ssim, 1)
    np.testing.assert_allclose(same.cosine, 1)


def test_black_against_white_is_as_far_as_can_be():
    black = np.zeros((1, 8, 8, 3), dtype=np.uint8)
    far = measure_distances(black, black + 255)
    np.testing.assert_allclose(far.l2, 2 * np.sqrt(8 * 8 * 3))
    np.testing.assert_allclose(far.mse, 4)
    assert far.ssim[0] < 0.01
    assert far.cosine is None


def test_one_gray_level_in_one_pixel(pictures):
    changed = pictures.copy()
    changed[2, 3, 5, 1] ^= 1
    found = measure_distances(pictures, changed)
    np.testing.assert_allclose(found.l2, [0, 0, 1 / 127.5, 0])
    np.testing.assert_allclose(found.mse, found.l2**2 / (16 * 16 * 3))


def test_distances_are_symmetric_and_pairwise(pictures):
    other = pictures[::-1].copy()
    there, back = measure_distances(pictures, other), measure_distances(other, pictures)
    for name in ("l2", "mse", "ssim"):
        np.testing.assert_allclose(getattr(there, name), getattr(back, name))
    alone = measure_distances(pictures[1:2], other[1:2])
    np.testing.assert_allclose(alone.l2, there.l2[1:2])
    np.testing.assert_allclose(alone.ssim, there.ssim[1:2])


def test_the_encoders_cosine_is_that_of_its_vectors(pictures):
    def encoder(images):
        return np.array([[1.0, 0.0]] + [[1.0, 1.0]] * (len(images) - 1))

    pair = pictures[:2]
    found = measure_distances(pair, pair[::-1].copy(), encoder)
    np.testing.assert_allclose(found.cosine, 1)  # the encoder sees places, not pictures
    null = measure_distances(pair, pair, lambda images: np.zeros((len(images), 3)))
    np.testing.assert_array_equal(null.cosine, 0)


def test_the_smallest_pictures_have_a_window(pictures):
    small = pictures[:, :4, :5]
    np.testing.assert_allclose(measure_distances(small, small).ssim, 1)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (np.zeros((1, 8, 8, 3)), np.zeros((1, 8, 8, 3)), "uint8"),
        (np.zeros((1, 8, 8, 3), np.uint8), np.zeros((2, 8, 8, 3), np.uint8), "pairs of one size"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8), "of shape"),
        (np.zeros((1, 2, 8, 3), np.uint8), np.zeros((1, 2, 8, 3), np.uint8), "nothing to compare"),
    ],
)
def test_what_cannot_be_compared_is_refused(before, after, message):
    with pytest.raises(DataError, match=message):
        measure_distances(before, after)


def test_an_encoder_that_flattens_nothing_is_refused(pictures):
    with pytest.raises(ModelError, match="one vector per picture"):
        measure_distances(pictures, pictures, lambda images: np.zeros(3))
