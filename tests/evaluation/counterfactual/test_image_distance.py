"""Distances between images."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.errors import DataError, ModelError
from creditline.evaluation.counterfactual.image_distance import measure_distances


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)


def mean_color(images):
    return np.stack([np.asarray(p, dtype=np.float64).mean((0, 1)) for p in images])


def test_equal_images_have_distance_0(images):
    same = measure_distances(images, images.copy(), mean_color)
    assert not same.l2.any()
    assert not same.mse.any()
    np.testing.assert_allclose(same.ssim, 1)
    np.testing.assert_allclose(same.cosine, 1)


def test_black_and_white_have_the_largest_distance():
    black = np.zeros((1, 8, 8, 3), dtype=np.uint8)
    far = measure_distances(black, black + 255)
    np.testing.assert_allclose(far.l2, 2 * np.sqrt(8 * 8 * 3))
    np.testing.assert_allclose(far.mse, 4)
    assert far.ssim[0] < 0.01
    assert far.cosine is None


def test_one_gray_level_in_one_pixel(images):
    changed = images.copy()
    changed[2, 3, 5, 1] ^= 1
    distances = measure_distances(images, changed)
    np.testing.assert_allclose(distances.l2, [0, 0, 1 / 127.5, 0])
    np.testing.assert_allclose(distances.mse, distances.l2**2 / (16 * 16 * 3))


def test_distances_are_symmetric_and_pairwise(images):
    other = images[::-1].copy()
    there, back = measure_distances(images, other), measure_distances(other, images)
    for name in ("l2", "mse", "ssim"):
        np.testing.assert_allclose(getattr(there, name), getattr(back, name))
    alone = measure_distances(images[1:2], other[1:2])
    np.testing.assert_allclose(alone.l2, there.l2[1:2])
    np.testing.assert_allclose(alone.ssim, there.ssim[1:2])


def test_the_encoders_cosine_is_that_of_its_vectors(images):
    def encoder(batch):
        return np.array([[1.0, 0.0]] + [[1.0, 1.0]] * (len(batch) - 1))

    pair = images[:2]
    distances = measure_distances(pair, pair[::-1].copy(), encoder)
    np.testing.assert_allclose(
        distances.cosine, 1
    )  # this encoder depends on positions, not on images
    null = measure_distances(pair, pair, lambda images: np.zeros((len(images), 3)))
    np.testing.assert_array_equal(null.cosine, 0)


def test_the_smallest_images_have_a_window(images):
    small = images[:, :4, :5]
    np.testing.assert_allclose(measure_distances(small, small).ssim, 1)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (np.zeros((1, 8, 8, 3)), np.zeros((1, 8, 8, 3)), "uint8"),
        (np.zeros((1, 8, 8, 3), np.uint8), np.zeros((2, 8, 8, 3), np.uint8), "pairs of one size"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8), "of shape"),
        (np.zeros((1, 2, 8, 3), np.uint8), np.zeros((1, 2, 8, 3), np.uint8), "cannot be compared"),
    ],
)
def test_what_cannot_be_compared_is_refused(before, after, message):
    with pytest.raises(DataError, match=message):
        measure_distances(before, after)


def test_an_encoder_that_flattens_nothing_is_refused(images):
    with pytest.raises(ModelError, match="one vector per image"):
        measure_distances(images, images, lambda images: np.zeros(3))
