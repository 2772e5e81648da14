from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from creditline.data.contact_sheet import contact_sheet
from creditline.errors import SettingsError


def random_images(count: int, side: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(count)]


def test_every_pixel_of_every_image_is_kept_and_enlarged_without_blur():
    images = random_images(5)
    paper = np.asarray(contact_sheet(images, columns=3, scale=3, gap=2))
    assert paper.shape == (2 + 2 * 14, 2 + 3 * 14, 3)
    for i, image in enumerate(images):
        y, x = 2 + i // 3 * 14, 2 + i % 3 * 14
        cell = paper[y : y + 12, x : x + 12]
        assert np.array_equal(cell, image.repeat(3, axis=0).repeat(3, axis=1))


def test_arrays_pil_images_and_files_give_the_same_sheet():
    arrays = random_images(3)
    images = [Image.fromarray(array) for array in arrays]
    files = []
    for image in images:
        file = BytesIO()
        image.save(file, "PNG")
        files.append(file.getvalue())
    assert (
        contact_sheet(arrays).tobytes()
        == contact_sheet(images).tobytes()
        == contact_sheet(files).tobytes()
    )


def test_the_default_is_as_square_as_it_can_be():
    assert contact_sheet(random_images(16), gap=0).size == (16, 16)
    assert contact_sheet(random_images(5), gap=0).size == (12, 8)
    assert contact_sheet(random_images(1), columns=9, gap=0).size == (4, 4)


def test_transparent_pixels_become_paper():
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (np.asarray(contact_sheet([clear], gap=0)) == 255).all()


def test_an_image_smaller_than_its_cell_is_centered():
    small, large = np.zeros((2, 2, 3), np.uint8), np.zeros((6, 6, 3), np.uint8)
    paper = np.asarray(contact_sheet([small, large], columns=2, gap=0))[..., 0]
    assert np.array_equal(np.argwhere(paper[:, :6] == 0)[[0, -1]], [[2, 2], [3, 3]])


@pytest.mark.parametrize(
    "label", ["a", "a name much longer than its cell " * 9, "عربي 🎨 \n x", ""]
)
def test_labels_stay_inside_their_cell(label):
    black = [np.zeros((20, 60, 3), np.uint8)] * 2
    with_label = np.asarray(contact_sheet(black, columns=2, labels=[label, ""], gap=4))
    bare = np.asarray(contact_sheet(black, columns=2, labels=["", ""], gap=4))
    assert with_label.shape == bare.shape
    changed = np.argwhere((with_label != bare).any(axis=2))
    assert bool(len(changed)) == bool(label)
    if label:
        assert changed[:, 0].min() >= 4 + 20
        assert changed[:, 1].max() < 4 + 60 + 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": []}, "at least one image"),
        ({"scale": 0}, "scale"),
        ({"columns": 0}, "column"),
        ({"gap": -1}, "gap"),
        ({"labels": ["only one"]}, "as many labels"),
        ({"images": [np.zeros((4, 4), np.uint8)]}, "uint8"),
        ({"images": [np.zeros((4, 4, 3))]}, "uint8"),
    ],
)
def test_impossible_requests_are_refused(arguments, message):
    with pytest.raises(SettingsError, match=message):
        contact_sheet(**{"images": random_images(2), **arguments})
