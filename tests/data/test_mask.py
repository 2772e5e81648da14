"""Masks: identities of resizing and boxes, and what is no mask."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from creditline.data.image_set import ImageSet
from creditline.data.mask import Mask, by_area, require_aspect, to_gray
from creditline.errors import DataError

SIZES = [((8, 8), (4, 4)), ((7, 5), (3, 4)), ((6, 6), (16, 16)), ((9, 3), (9, 3))]


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_by_area_takes_ones_to_ones_and_keeps_the_mean(old, new):
    assert np.array_equal(by_area(np.ones(old), new), np.ones(new))
    values = np.random.default_rng(0).random(old)
    assert by_area(values, new).mean() == pytest.approx(values.mean(), rel=1e-12)


def test_by_area_averages_whole_cells_and_there_and_back_is_the_identity():
    values = np.random.default_rng(0).random((8, 12))
    blocks = values.reshape(4, 2, 3, 4).mean((1, 3))
    assert_allclose(by_area(values, (4, 3)), blocks, rtol=1e-12)
    assert_allclose(by_area(by_area(values, (24, 36)), (8, 12)), values, rtol=1e-12)


@pytest.mark.parametrize("edge", [0.5, 1 / 3, 0.37])
def test_boxes_that_part_an_image_add_up_to_it(edge):
    left, right = (Mask.from_box(box, (7, 9)) for box in ((0, 0, edge, 1), (edge, 0, 1, 1)))
    assert_allclose(left.weights + right.weights, 1, atol=1e-6)
    assert left.share == pytest.approx(edge, rel=1e-6)
    assert left.share + right.share == pytest.approx(1, rel=1e-6)
    for grid in ((7, 9), (3, 2)):
        parts = left.share * left.on(grid) + right.share * right.on(grid)
        assert_allclose(parts, 1, rtol=1e-5)


def test_a_mask_of_one_gray_is_a_mask_of_ones():
    mask = Mask.from_gray(np.full((5, 5), 77.0), (8, 8), "a mask")
    assert mask.share == 1
    for grid in ((8, 8), (3, 5), (4, 4)):
        assert np.array_equal(mask.on(grid), np.ones(grid))


def test_a_scaled_mask_is_the_same_mask():
    gray = np.random.default_rng(0).integers(0, 2, (8, 8)) * 1.0
    total, faint = Mask.from_gray(gray, (8, 8), "a"), Mask.from_gray(gray * 64, (8, 8), "b")
    assert total == faint
    assert total.id == faint.id
    assert total.id != Mask.from_gray(1 - gray, (8, 8), "c").id


def test_weights_on_a_grid_have_mean_one_and_only_where_the_mask_is():
    weights = Mask.from_box((0, 0, 0.25, 1), (16, 16)).on((4, 4))
    assert_allclose(weights, [[4, 0, 0, 0]] * 4)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((0, 0, 8, 8), "divide pixels by the size, here 9x7"),
        ((-0.1, 0, 1, 1), "not inside the image"),
        ((0, float("nan"), 1, 1), "not inside the image"),
        ((0.5, 0, 0.5, 1), "empty"),
        ((0.6, 0, 0.5, 1), "empty"),
        ((0, 0, 1), "four numbers"),
        (("a", 0, 1, 1), "four numbers"),
    ],
)
def test_boxes_that_are_none(box, said):
    with pytest.raises(DataError, match=said):
        Mask.from_box(box, (7, 9))


def test_black_and_colored_masks_are_refused():
    with pytest.raises(DataError, match="the mask is black all over"):
        Mask.from_gray(np.zeros((4, 4)), (8, 8), "the mask")
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[0, 0] = (200, 30, 30)
    with pytest.raises(DataError, match="has colors"):
        to_gray(Image.fromarray(pixels), "the mask")


def test_what_is_transparent_does_not_count():
    pixels = np.full((2, 2, 4), 255, np.uint8)
    pixels[0, 0, 3] = 0
    assert np.asarray(to_gray(Image.fromarray(pixels), "m")).tolist() == [[0, 255], [255, 255]]


def test_aspects():
    for size in ((16, 16), (8, 8), (333, 333)):
        require_aspect(size, (16, 16), "m")
    require_aspect((500, 333), (667, 1000), "m")  # rounded to whole pixels
    for size, shape in (((16, 8), (16, 16)), ((500, 300), (667, 1000))):
        with pytest.raises(DataError, match="another aspect"):
            require_aspect(size, shape, "m")


def test_an_image_set_carries_masks(tiny_images, travel, tmp_path):
    mask = Mask.from_box((0, 0, 0.5, 1), (8, 8))
    masked = tiny_images.with_masks([mask, *[None] * 11])
    assert masked.fingerprint != tiny_images.fingerprint
    assert masked.with_masks(None).fingerprint == tiny_images.fingerprint
    assert masked.subset([3, 0]).masks == (None, mask)
    there = travel(masked)
    assert there.masks == masked.masks
    assert there.mask_ids == masked.mask_ids
    with pytest.raises(DataError, match="12 images need 12 masks; got 1"):
        tiny_images.with_masks([mask])
    with pytest.raises(DataError, match=r"has shape \(4, 4\)"):
        tiny_images.with_masks([Mask.from_box((0, 0, 1, 1), (4, 4))] * 12)
    with pytest.raises(DataError, match="A saved folder knows no parts"):
        masked.save(tmp_path / "out")
    assert ImageSet.from_images(tiny_images.array()).masks is None
