"""A traced region on the page: veiled outside, and said in words."""

from __future__ import annotations

import dataclasses
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from creditline.report import fragment, render
from creditline.report.figures import data_uri
from creditline.report.region import pictured
from creditline.report.words import credit_line, region_note
from creditline.trace import Region


@pytest.fixture
def parted(make_trace):
    """A trace of two pictures, of the first only the left half."""
    trace = make_trace(queries=2)
    gray = np.zeros((16, 16), np.uint8)
    gray[:, :8] = 255
    buffer = BytesIO()
    Image.fromarray(gray).save(buffer, format="PNG")
    region = Region("ab", 0.5, buffer.getvalue())
    first = dataclasses.replace(trace[0], region=region)
    return dataclasses.replace(trace, queries=(first, trace[1]))


def test_what_counts_is_as_it_was_and_the_rest_is_veiled(parted):
    before, after = (
        np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(float)
        for png in (parted[0].image, pictured(parted[0]))
    )
    assert np.array_equal(before[:, :8], after[:, :8])
    assert after[:, 8:].std() < before[:, 8:].std() / 2
    assert pictured(parted[1]) == parted[1].image


def test_the_page_says_and_shows_it(parted):
    page = render(parted)
    assert page.count("only a part of it, 50 % of its area") == 1
    assert page.count(data_uri(pictured(parted[0]))) == 2, "in the overview and at the side"
    assert data_uri(parted[0].image) not in page
    assert "only a part of it, 50 % of its area" in fragment(parted)
    assert credit_line(parted, 0).startswith("This part of it owes most to")
    assert credit_line(parted, 1).startswith("Owes most to")
    assert region_note(parted[1]) == ""


def test_masks_of_training_images_are_mentioned(make_trace):
    trace = make_trace(queries=1)
    said = "Of the training images only the parts under their masks count."
    assert said not in render(trace)
    settings = {**trace.settings, "data": {"masks": "abc"}}
    assert said in render(dataclasses.replace(trace, settings=settings))
