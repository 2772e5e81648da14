"""A projection that is small enough for the tiny models of the tests."""

from __future__ import annotations

from creditline.gradients.projection import Projection
from creditline.gradients.projection.registry import PROJECTORS


def small_projection(name: str, **values: object) -> Projection:
    """The projection `name` with 128 dimensions and rank 6, as far as it has these settings."""
    values = {"dim": 128, "rank": 6, **values}
    own = PROJECTORS.load(name).settings
    return Projection(name, **{key: value for key, value in values.items() if key in own})
