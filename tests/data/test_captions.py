"""All captions of images that have several."""

from __future__ import annotations

import json

import numpy as np
import pytest

from creditline.data import load_images
from creditline.data.image_set import ImageSet
from creditline.data.metadata_spec import MetadataSpec
from creditline.errors import DataError, SettingsError

ALL = MetadataSpec(captions="all")
TEXTS = ["a cat", None, "a boat"]
CAPTIONS = [("a cat", "a small cat"), None, None]


@pytest.fixture
def folder(write, noise):
    """Three images: with two captions, none and one."""
    rows = [
        {"file_name": "a.png", "text": ["a cat", "", "a small cat"]},
        {"file_name": "b.png"},
        {"file_name": "c.png", "text": ["a boat"]},
    ]
    images = {f"{x}.png": noise(4, 4, 3, seed=i) for i, x in enumerate("abc")}
    return write({**images, "metadata.jsonl": "\n".join(map(json.dumps, rows))})


@pytest.fixture
def images():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    return ImageSet.from_images(pixels, texts=TEXTS)


def test_all_captions_of_an_image_are_read(folder):
    images = load_images(folder, metadata=ALL)
    assert images.texts == tuple(TEXTS)
    assert images.captions == tuple(CAPTIONS)
    first = load_images(folder, metadata=MetadataSpec(captions="first"))
    assert (first.texts, first.captions) == (images.texts, None)


def test_captions_are_part_of_the_fingerprint_only_where_there_are_any(images):
    several = images.with_captions(CAPTIONS)
    other = images.with_captions([("a cat", "a big cat"), None, None])
    assert len({x.fingerprint for x in (images, several, other)}) == 3
    assert several.with_captions(None).fingerprint == images.fingerprint


def test_captions_follow_their_images(images):
    several = images.with_captions(CAPTIONS)
    assert several.subset([2, 0]).captions == (None, CAPTIONS[0])
    assert several.labeled([0, 1, 0], None).captions == several.captions
    assert several.with_masks(None).captions == several.captions
    assert several.captioned(["x", "y", "z"], None).captions is None


def test_a_saved_folder_keeps_all_captions(images, tmp_path):
    saved = images.with_captions(CAPTIONS).save(tmp_path / "saved")
    again = load_images(saved, metadata=ALL)
    assert (again.texts[0], again.captions) == ("a cat", tuple(CAPTIONS))
    with pytest.raises(DataError, match=r"2 captions in column 'text'.*--captions all"):
        load_images(saved)


@pytest.mark.parametrize(
    "captions", [[None], [("a cat",), None, None], [None, ("x", "y"), None], [("b", "a cat")] * 3]
)
def test_captions_that_do_not_fit_the_texts_are_refused(images, captions):
    with pytest.raises(DataError, match=r"3 captions|the text first"):
        images.with_captions(captions)


def test_captions_are_valid_unicode(write, noise):
    row = '{"file_name": "a.png", "text": "[\\"a\\", \\"\\\\ud800\\"]"}'
    with pytest.raises(DataError, match="captions"):
        load_images(write({"a.png": noise(4, 4, 3), "metadata.jsonl": row}), metadata=ALL)


def test_a_template_and_all_captions_are_not_given_together():
    with pytest.raises(SettingsError, match=r"one caption.*Leave one of them out"):
        MetadataSpec(captions="all", prompt_template="{text}")
