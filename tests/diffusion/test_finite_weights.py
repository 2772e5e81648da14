"""A training that ends with weights that are not finite is no trained model."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tests.test_writers import SMALL

from creditline.diffusion.train import train
from creditline.diffusion.training_state import TrainingState
from creditline.errors import NumericsError
from creditline.manifest import Manifest


@pytest.mark.parametrize("every", [0, 1])
def test_weights_that_are_not_finite_after_the_last_step_are_refused(
    tiny_images, tmp_path, monkeypatch, every
):
    advance = TrainingState.advance

    def overflow(self):
        advance(self)
        with torch.no_grad():
            next(iter(self.trained.values())).view(-1)[0] = float("inf")

    monkeypatch.setattr(TrainingState, "advance", overflow)
    config = dataclasses.replace(SMALL, checkpoint_every=every)
    for _ in range(2):  # the same call again is refused again
        with pytest.raises(NumericsError, match=r"After step 1 a weight is not finite"):
            train(tiny_images, tmp_path / "run", config)
    assert Manifest.read(tmp_path / "run", "run").status == "building"
    assert not (tmp_path / "run" / "model").exists()
    assert not (tmp_path / "run" / "checkpoints").exists()
