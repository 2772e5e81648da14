"""Projections by name, those of other packages included."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch

from creditline.errors import SettingsError
from creditline.features.gradients import GradientExtractor
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.projection import Block, Projection
from creditline.gradients.projection.projector import Projector
from creditline.gradients.projection.registry import OWN_SETTINGS, PROJECTORS, settings_of
from creditline.gradients.spec import FeatureSpec


class EveryNth(Projector):
    """A toy projection: evenly spaced coordinates of the gradient."""

    settings = ("dim",)

    def project_block(self, block: Block, pieces) -> torch.Tensor:
        gradient = torch.cat(list(pieces), dim=1)
        return gradient[:, np.linspace(0, block.size - 1, block.rows).astype(int)]


@pytest.fixture
def registered(monkeypatch):
    """The toy projection, as if another package had registered it."""
    point = EntryPoint("every-nth", f"{__name__}:EveryNth", PROJECTORS.group)
    monkeypatch.setattr(type(point), "load", lambda self: EveryNth)
    monkeypatch.setitem(PROJECTORS._points, "every-nth", point)


@pytest.mark.slow
def test_a_projection_of_another_package_is_used_by_name(tiny_model, tiny_images, registered):
    def features(projection: Projection) -> np.ndarray:
        spec = FeatureSpec(plan=NoisePlan(timesteps=2), projection=projection)
        return GradientExtractor([tiny_model], spec).extract(tiny_images, range(3))[:, 0, 0]

    full = features(Projection("none"))
    own = features(Projection("every-nth", 64))
    rows = np.linspace(0, full.shape[1] - 1, 64).astype(int)
    np.testing.assert_allclose(own, full[:, rows], rtol=1e-4, atol=1e-7)
    with pytest.raises(SettingsError, match="'every-nth' has no setting 'rank'; got 8"):
        Projection("every-nth", 64, rank=8)


def test_an_unknown_projection_is_answered_with_the_nearest(registered):
    with pytest.raises(SettingsError, match=r"Did you mean 'every-nth'\?.*two-sided"):
        Projection("every-nht")


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("gaussian", {"rank": 8}),
        ("count-sketch", {"rank": 8}),
        ("none", {"dim": 64}),
        ("none", {"layout": "layers"}),
        ("none", {"projection_seed": 1}),
    ],
)
def test_a_setting_that_a_projection_does_not_use_is_refused(name, setting):
    with pytest.raises(SettingsError, match=f"has no setting '{next(iter(setting))}'"):
        Projection(name, **setting)


@pytest.mark.parametrize("name", OWN_SETTINGS)
def test_the_settings_of_a_class_are_known_without_it(name):
    assert settings_of(name) == PROJECTORS.load(name).settings
