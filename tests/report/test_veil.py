"""A traced region on the page: the rest of the image is grayed out and the text says so."""

from __future__ import annotations

import dataclasses
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from creditline.records import Region
from creditline.report import fragment, render
from creditline.report.figures import data_uri
from creditline.report.sentences import credit_line, region_note
from creditline.report.veil import veil


@pytest.fixture
def region_trace(make_trace):
    """A trace of two query images, of the first only the left half."""
    trace = make_trace(queries=2)
    gray = np.zeros((16, 16), np.uint8)
    gray[:, :8] = 255
    buffer = BytesIO()
    Image.fromarray(gray).save(buffer, format="PNG")
    region = Region("ab", 0.5, buffer.getvalue())
    first = dataclasses.replace(trace[0], region=region)
    return dataclasses.replace(trace, queries=(first, trace[1]))


def test_the_region_is_unchanged_and_the_rest_is_grayed_out(region_trace):
    before, after = (
        np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(float)
        for png in (region_trace[0].image, veil(region_trace[0]))
    )
    assert np.array_equal(before[:, :8], after[:, :8])
    assert after[:, 8:].std() < before[:, 8:].std() / 2
    assert veil(region_trace[1]) == region_trace[1].image


def test_the_page_shows_and_names_the_region(region_trace):
    page = render(region_trace)
    assert page.count("a region, 50 % of the image") == 1
    assert page.count(data_uri(veil(region_trace[0]))) == 2, "in the overview and at the side"
    assert data_uri(region_trace[0].image) not in page
    assert "a region, 50 % of the image" in fragment(region_trace)
    assert credit_line(region_trace, 0).startswith("This region owes most to")
    assert credit_line(region_trace, 1).startswith("Owes most to")
    assert region_note(region_trace[1]) == ""


def test_masks_of_training_images_are_mentioned(make_trace):
    trace = make_trace(queries=1)
    said = "Of the training images, only the masked parts count."
    assert said not in render(trace)
    settings = {**trace.settings, "data": {"masks": "abc"}}
    assert said in render(dataclasses.replace(trace, settings=settings))
