"""A tiny index that many tests read."""

from __future__ import annotations

from typing import Any

import pytest

import creditline as cl

SETTINGS: dict[str, Any] = {"timesteps": 3, "dim": 128}


@pytest.fixture
def build(tiny_model, tiny_images, tmp_path):
    """Builds an index of the tiny model and images; keyword arguments as `creditline.index`."""

    def build_index(name: str = "index", images: Any = None, model: Any = None, **changes: Any):
        arguments = {**SETTINGS, "method": "trak", "shard_rows": 4, **changes}
        return cl.index(
            model or tiny_model, images or tiny_images, out=tmp_path / name, **arguments
        )

    return build_index
