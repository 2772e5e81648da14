"""What a training refuses before anything is written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from creditline.data.image_set import ImageSet
from creditline.diffusion import train as train_module
from creditline.diffusion.train import train
from creditline.errors import (
    CreditlineError,
    IndexMismatchError,
    ModelError,
)


def test_images_of_another_size_are_refused_before_anything_is_written(plain_config, tmp_path):
    images = ImageSet.from_images(np.zeros((2, 12, 10, 3), np.uint8))
    with pytest.raises(ModelError, match="8x8 pixels; the images have 10x12"):
        train(images, tmp_path / "run", plain_config)
    assert not (tmp_path / "run").exists()


def test_classes_without_labels_are_refused_before_anything_is_written(
    tiny_images, tiny_config, tmp_path
):
    with pytest.raises(ModelError, match=r"conditional on 3 classes.*12 of 12 images"):
        train(tiny_images, tmp_path / "run", tiny_config)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_out_exists(tiny_images, labeled_images, plain_config, tmp_path, monkeypatch, weights):
    short = replace(plain_config, steps=2, checkpoint_every=0)
    run = train(tiny_images, tmp_path / "run", short)
    before = weights(run / "model")
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "TrainingRun", None)
        assert train(tiny_images, run, short) == run  # complete: nothing to do
    with pytest.raises(IndexMismatchError, match=r"steps: 2 on disk, 3 asked for"):
        train(tiny_images, run, replace(short, steps=3))
    with pytest.raises(IndexMismatchError, match=r"images\.fingerprint"):
        train(labeled_images, run, short)
    assert weights(run / "model") == before
    train(tiny_images, run, replace(short, seed=8), overwrite=True)
    assert weights(run / "model") != before

    (tmp_path / "file").write_text("mine")
    with pytest.raises(CreditlineError, match="is a file"):
        train(tiny_images, tmp_path / "file", short)
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.txt").write_text("mine")
    with pytest.raises(CreditlineError, match="nothing was changed"):
        train(tiny_images, tmp_path / "holiday", short, overwrite=True)
    assert (tmp_path / "holiday" / "photo.txt").read_text() == "mine"
