from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from creditline.data import ImageSet, ImageSpec, load_images
from creditline.data.pixel_array import content_hash
from creditline.errors import DataError, SettingsError


@pytest.fixture
def images(noise) -> ImageSet:
    return ImageSet.from_images(
        noise(5, 6, 8, 3),
        contributors=["Ann", "Bo", None, "Ann", "Cy"],
        texts=["a", None, "c", "d", "e"],
        labels=[0, 1, None, 1, 0],
        label_names=["cat", "dog"],
        columns={"license": ["x", "y", "z", None, "w"]},
    )


def test_pixels_array_and_image_agree(images, noise):
    raw = noise(5, 6, 8, 3)
    assert images.shape == (3, 6, 8)
    np.testing.assert_array_equal(images.array(), raw)
    np.testing.assert_array_equal(images.array([3, 0, 3, -1]), raw[[3, 0, 3, 4]])
    np.testing.assert_array_equal(np.asarray(images.image(2)), raw[2])
    pixels = images.pixels([4])
    assert pixels.dtype == torch.float32
    assert pixels.shape == (1, 3, 6, 8)
    np.testing.assert_allclose(pixels[0].permute(1, 2, 0), raw[4] / 127.5 - 1, atol=1e-6)


def test_returned_pixels_are_copies(images):
    before = images.array([0])
    images.array([0])[:] = 0
    images.pixels()[:] = 0
    np.testing.assert_array_equal(images.array([0]), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_come_back_to_the_same_bytes(noise, dtype):
    every_byte = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    images = ImageSet.from_images([every_byte, noise(16, 16, 3)])
    again = ImageSet.from_images(images.pixels().to(dtype))
    assert again.ids == images.ids
    unit = ImageSet.from_images((images.pixels() + 1) / 2, value_range=(0, 1))
    assert unit.ids == images.ids


def test_all_kinds_of_images_in_memory_agree(noise):
    raw = noise(4, 4, 3)
    tensor = torch.from_numpy(raw).permute(2, 0, 1)
    kinds = [
        Image.fromarray(raw),
        raw,
        tensor,
        tensor.float() / 127.5 - 1,
        raw.astype(np.float64) / 127.5 - 1,
        np.dstack([raw, np.full((4, 4), 255, np.uint8)]),
    ]
    images = ImageSet.from_images(kinds)
    assert set(images.ids) == {content_hash(raw)}
    assert images.duplicates() == ((0, 1, 2, 3, 4, 5),)
    assert images.names[:2] == ("00000.png", "00001.png")


def test_gray_arrays_and_tensors(noise):
    raw = noise(4, 4)
    images = ImageSet.from_images([raw, torch.from_numpy(raw)[None]])
    assert images.ids[0] == images.ids[1]
    np.testing.assert_array_equal(images.array([0])[0], raw[..., None].repeat(3, 2))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((4, 4, 2), np.uint8), r"Image 0 has shape \[4, 4, 2\]"),
        (torch.zeros(4, 4, 3), r"Image 0 has shape \[4, 4, 3\]; expected \[3, H, W\]"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (torch.full((3, 2, 2), 1.5), r"from 1.5 to 1.5, outside value_range=\(-1, 1\)"),
        (torch.full((3, 2, 2), float("nan")), "nan"),
        ("cat.png", "load_images"),
    ],
)
def test_images_without_a_clear_meaning_are_refused(value, message):
    with pytest.raises(DataError, match=message):
        ImageSet.from_images([value])


def test_from_images_wants_a_sequence(noise):
    for single in (noise(4, 4, 3), torch.zeros(3, 4, 4), Image.new("RGB", (4, 4))):
        with pytest.raises(DataError, match="Put it in a list"):
            ImageSet.from_images(single)
    with pytest.raises(DataError, match="at least one"):
        ImageSet.from_images([])
    with pytest.raises(DataError, match="got int"):
        ImageSet.from_images(7)
    stream = io.BytesIO()
    Image.fromarray(noise(40, 40, 3)).save(stream, "PNG")
    unread = Image.open(io.BytesIO(stream.getvalue()[:2000]))
    with pytest.raises(DataError, match="Image 0: corrupt or cut short"):
        ImageSet.from_images([unread])
    with pytest.raises(SettingsError, match="black < white"):
        ImageSet.from_images([noise(4, 4, 3)], value_range=(1, 0))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"names": ["a"]}, "2 images need 2 names; got 1"),
        ({"contributors": ["a"]}, "2 contributors"),
        ({"columns": {"license": []}}, "2 license"),
        ({"labels": [0, -1]}, "got -1"),
        ({"labels": [0, 0.5]}, "got 0.5"),
        ({"labels": [0, 2], "label_names": ["a", "b"]}, "label 2"),
    ],
)
def test_fields_must_fit(noise, fields, message):
    with pytest.raises(DataError, match=message):
        ImageSet.from_images(noise(2, 4, 4, 3), **fields)


@pytest.mark.slow
@given(rows=st.lists(st.integers(-5, 4), min_size=1, max_size=12))
def test_subset_of_a_subset_is_a_subset(rows):
    raw = np.random.default_rng(1).integers(0, 256, (5, 2, 2, 3), dtype=np.uint8)
    images = ImageSet.from_images(raw, texts=list("abcde"))
    order = [4, 2, 0, 1, 3]
    part = images.subset(order).subset(rows)
    direct = images.subset([order[row] for row in rows])
    assert part.ids == direct.ids
    assert part.names == direct.names
    assert part.texts == direct.texts
    assert part.fingerprint == direct.fingerprint
    np.testing.assert_array_equal(part.array(), raw[[order[row] for row in rows]])


def test_subset_keeps_everything_together(images):
    part = images.subset([3, 2])
    assert part.contributors == ("Ann", None)
    assert part.labels == (1, None)
    assert part.label_names == ("cat", "dog")
    assert part.columns["license"] == (None, "z")
    assert len(images.subset([])) == 0


@pytest.mark.parametrize("positions", [[5], [-6], [0.5], [[0]], [True]])
def test_positions_outside_or_of_another_kind(images, positions):
    with pytest.raises(IndexError):
        images.array(positions)
    with pytest.raises(IndexError):
        images.subset(positions)


def test_identity_is_of_pixels_and_shape(noise):
    flat = np.zeros((2, 8, 3), np.uint8)
    assert content_hash(flat) != content_hash(flat.reshape(4, 4, 3))
    assert content_hash(flat) == content_hash(flat.copy(order="F"))
    assert len(content_hash(flat)) == 32


def test_duplicates_are_grouped_by_content(noise):
    raw = noise(3, 4, 4, 3)
    images = ImageSet.from_images(raw[[0, 1, 0, 2, 1, 0]])
    assert images.duplicates() == ((0, 2, 5), (1, 4))


def test_fingerprint_follows_order_labels_texts_and_spec(noise):
    raw = noise(2, 4, 4, 3)

    def fingerprint(**changed: object) -> str:
        fields = {"texts": ["a", "b"], "labels": [0, 1], "images": raw} | changed
        return ImageSet.from_images(fields.pop("images"), **fields).fingerprint

    changes = [
        {},
        {"images": raw[::-1]},
        {"texts": ["a", "c"]},
        {"labels": [1, 1]},
        {"spec": replace(ImageSpec(), background="black")},
    ]
    assert len({fingerprint(**change) for change in changes}) == len(changes)
    assert fingerprint() == fingerprint(names=["x", "y"], contributors=["Ann", "Bo"])


def test_columns_cannot_be_changed(images):
    with pytest.raises(TypeError):
        images.columns["license"] = ()


def test_pickle_round_trip(images, travel):
    again = travel(images.subset([1, 3]))
    assert again.fingerprint == images.subset([1, 3]).fingerprint
    np.testing.assert_array_equal(again.array(), images.array([1, 3]))
    assert again.columns == images.subset([1, 3]).columns


def test_save_and_load_round_trip(images, tmp_path):
    again = load_images(images.save(tmp_path / "out"))
    for field in ("ids", "names", "contributors", "texts", "labels", "label_names", "columns"):
        assert getattr(again, field) == getattr(images, field)


def test_save_stays_inside_its_folder_and_tells_equal_names_apart(noise, tmp_path):
    images = ImageSet.from_images(
        noise(5, 4, 4, 3), names=["a.jpg", "a.png", "../../a.gif", "/etc/b.png", "A.png"]
    )
    again = load_images(images.save(tmp_path / "out"))
    assert sorted(again.ids) == sorted(images.ids)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    with pytest.raises(DataError, match="not an empty folder"):
        images.save(tmp_path / "out")
