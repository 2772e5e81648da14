"""Checks of the images."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.data.image_set import ImageSet
from creditline.data.selection import SelectionSpec


def random_images(n, side=8, **facts):
    pixels = np.random.default_rng(1).integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    return ImageSet.from_images(pixels, **facts)


@pytest.mark.slow
def test_good_images_are_counted(tiny_model, tiny_images, examine):
    diagnosis = examine(tiny_model, tiny_images)
    assert not diagnosis.failed
    assert diagnosis["images fit"].text.startswith("12 images")
    assert diagnosis["contributors"].text.startswith("3")
    assert diagnosis.cost.n == 12


@pytest.mark.slow
def test_images_that_do_not_fit_fail_and_the_rest_still_runs(tiny_model, examine):
    diagnosis = examine(tiny_model, random_images(3, side=16))
    assert diagnosis["images fit"].status == "fail"
    assert "8x8" in diagnosis["images fit"].text
    assert diagnosis["equal to autograd"].status == "ok"
    assert diagnosis.cost is not None


@pytest.mark.slow
def test_duplicates_and_missing_contributors_are_counted(tiny_model, tiny_images, examine):
    images = random_images(4, contributors=["a", None, "b", None]).subset([0, 1, 2, 3, 1, 1])
    diagnosis = examine(tiny_model, images)
    assert diagnosis["duplicates"].status == "warn"
    assert "3 images in 1 group are equal" in diagnosis["duplicates"].text
    assert diagnosis["contributors"].status == "warn"
    assert "4 of 6 images" in diagnosis["contributors"].text


@pytest.mark.slow
def test_skipped_images_are_listed(tiny_model, tiny_images, examine, tmp_path):
    folder = tiny_images.save(tmp_path / "images")
    (folder / "broken.png").write_bytes(b"no image")
    from creditline.data.load import load_images

    finding = examine(tiny_model, load_images(folder, selection=SelectionSpec(skip_bad=True)))[
        "skipped"
    ]
    assert finding.status == "warn"
    assert "broken.png" in finding.text


@pytest.mark.slow
def test_fewer_images_than_samples(tiny_model, examine):
    assert examine(tiny_model, random_images(2), samples=5).cost.measured == 2
