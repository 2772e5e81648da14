"""Captions from a template."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.data import load_images
from creditline.data.image_set import ImageSet
from creditline.data.metadata_spec import MetadataSpec
from creditline.data.template import caption_queries, fill_template
from creditline.errors import DataError, SettingsError


@pytest.fixture
def folder(tmp_path):
    images = ImageSet.from_images(
        np.zeros((2, 8, 8, 3), np.uint8) + np.arange(2, dtype=np.uint8)[:, None, None, None],
        contributors=["Ann", "Bo"],
        labels=[1, 0],
        label_names=["cat", "dog"],
        columns={"year": ["1999", None]},
    )
    return images.save(tmp_path / "images")


def test_columns_classes_and_contributors(folder):
    images = load_images(
        folder, metadata=MetadataSpec(prompt_template="a {label} by {contributor}")
    )
    assert images.texts == ("a dog by Ann", "a cat by Bo")
    assert images.fingerprint != load_images(folder).fingerprint


@pytest.mark.parametrize(
    ("template", "error", "message"),
    [
        ("a {style}", SettingsError, "Unknown column of the prompt template 'style'.*contributor"),
        ("of {year}", DataError, r"1 of 2 images have no 'year'.*00001\.png"),
        ("an icon", SettingsError, "must name one column or more.*--caption"),
        ("a {label:>9}", SettingsError, "nothing but their names"),
        ("a {label!r}", SettingsError, "nothing but their names"),
        ("a {label", SettingsError, "cannot be read"),
        ("a {}", SettingsError, "Unknown column of the prompt template ''"),
        ("a {label.__class__}", SettingsError, "Unknown column"),
    ],
)
def test_what_cannot_be_filled(folder, template, error, message):
    with pytest.raises(error, match=message):
        load_images(folder, metadata=MetadataSpec(prompt_template=template))


def test_images_that_are_loaded_have_their_captions(folder):
    with pytest.raises(SettingsError, match="Load their source with it"):
        load_images(load_images(folder), metadata=MetadataSpec(prompt_template="a {label}"))


def test_braces_may_be_doubled():
    assert fill_template("{{{a}}}", {"a": ["x"]}, ["1.png"]) == ["{x}"]


def test_queries_are_captioned_alike_where_they_have_the_columns(folder):
    queries = load_images(folder).captioned([None, "own"], None)
    template = "a {label} of {year}"
    result = caption_queries(queries, template)
    assert result.texts == ("a dog of 1999", "own")
    assert (result.ids, result.columns) == (queries.ids, queries.columns)
    assert caption_queries(queries, "by {style}").texts == (None, "own")
    assert caption_queries(queries, None) is queries
    with pytest.raises(SettingsError, match="must name one column"):
        caption_queries(queries, "an icon")


def test_the_template_is_remembered(folder):
    images = load_images(folder, metadata=MetadataSpec(prompt_template="a {label}"))
    assert images.subset([1]).prompt_template == "a {label}"
    again = caption_queries(load_images(folder), images.prompt_template)
    assert again.fingerprint == images.fingerprint
    assert load_images(folder).prompt_template is None
