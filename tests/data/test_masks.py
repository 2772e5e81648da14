"""Masks of training images: from a metadata column and from a folder of the same names."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from creditline.data import load_images
from creditline.data.image_spec import ImageSpec
from creditline.errors import DataError

LEFT = np.zeros((8, 8), np.uint8)
LEFT[:, :4] = 255


@pytest.fixture
def images(noise):
    return {f"{name}.png": noise(8, 8, 3, seed=i) for i, name in enumerate("abc")}


def column(*values: str) -> str:
    rows = (f"{name}.png,{value}" for name, value in zip("abc", values, strict=True))
    return "\n".join(["file_name,mask", *rows]) + "\n"


def test_a_column_names_masks_beside_the_images(write, images, zipped):
    files = {"metadata.csv": column("m/1.png", "", "m/1.png"), "m/1.png": LEFT}
    root = write(images | files)
    for source in (root, zipped(root)):
        images = load_images(source, masks="column")
        assert images.names == ("a.png", "b.png", "c.png")
        assert images.masks is not None
        assert images.masks[1] is None
        assert_array_equal(images.masks[0].weights, LEFT / 255)
        assert images.masks[2] == images.masks[0]


def test_without_being_asked_a_column_is_a_column(write, images):
    images = load_images(write(images | {"metadata.csv": column("x", "", "y")}))
    assert images.masks is None
    assert images.columns["mask"] == ("x", None, "y")


def test_a_folder_of_the_same_names_at_another_size(write, images):
    masks = write({f"{name}.png": LEFT[::2, ::2] for name in "abc"}, "masks")
    images = load_images(write(images), masks=masks)
    assert_array_equal(images.masks[0].weights, LEFT / 255)


def test_a_mask_of_the_files_size_is_cropped_as_the_image(write, noise):
    wide = np.zeros((8, 16), np.uint8)
    wide[:, :8] = 255
    root = write({"a.png": noise(8, 16, 3)})
    masks = write({"a.png": wide}, "masks")
    assert_array_equal(
        load_images(root, ImageSpec(size=8), masks=masks).masks[0].weights, LEFT / 255
    )
    cut = load_images(root, ImageSpec(center_crop=4), masks=masks).masks[0]
    assert_array_equal(cut.weights, [[1, 1, 0, 0]] * 4)
    squeezed = load_images(root, ImageSpec(size=8, crop="stretch"), masks=masks).masks[0]
    assert_array_equal(squeezed.weights, LEFT / 255)


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        ({"a.png": LEFT, "b.png": LEFT}, "1 images have no mask of their name .*: c.png"),
        ({**dict.fromkeys(("a.png", "b.png", "c.png", "d.png"), LEFT)}, "name of no image: d.p"),
        (dict.fromkeys(("a.png", "b.png", "c.png"), LEFT * 0), "black all over"),
        (dict.fromkeys(("a.png", "b.png", "c.png"), LEFT[:4]), "another aspect"),
        ({"a.png": LEFT, "a.jpg": LEFT}, "two masks of one name"),
    ],
)
def test_folders_that_do_not_fit(write, images, masks, said):
    with pytest.raises(DataError, match=said):
        load_images(write(images), masks=write(masks, "masks"))


def test_columns_that_do_not_fit(write, images):
    with pytest.raises(DataError, match="no metadata column 'mask'"):
        load_images(write(images), masks="column")
    root = write(images | {"metadata.csv": column("gone.png", "", "")}, "other")
    with pytest.raises(DataError, match=r"gone\.png"):
        load_images(root, masks="column")
