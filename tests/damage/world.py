"""What folders of every kind are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import creditline as cl
from creditline.data.image_set import ImageSet

SETTINGS: dict[str, Any] = {"method": "trak", "timesteps": 3, "dim": 64, "shard_rows": 4}


@dataclass(frozen=True)
class World:
    """Small inputs, and the place of what is stored.

    Attributes:
        model: a pixel model.
        images: twelve of them.
        folder: of what is stored; does not exist yet.
        aside: for whatever else is needed.
        patch: of pytest.
    """

    model: Any
    images: ImageSet
    folder: Path
    aside: Path
    patch: pytest.MonkeyPatch

    @property
    def train(self) -> ImageSet:
        """The training images."""
        return self.images.subset(range(8))

    @property
    def queries(self) -> ImageSet:
        """One training image, and another image."""
        return self.images.subset([1, 9])

    def index(self, out: Path, **changes: Any) -> cl.Index:
        """Build an index."""
        return cl.index(self.model, self.train, out=out, **{**SETTINGS, **changes})

    def trace(self, path: Path) -> object:
        """Answer the queries from an index."""
        return cl.open_index(path, model=self.model).trace(self.queries, top=3).queries


def interrupt(place: Any, name: str, act: Callable[[], object], after: int = 0) -> None:
    """Interrupt an action at a call of one of its functions, when that was called some times."""
    real, calls = getattr(place, name), iter(range(after))

    def stop(*args: Any, **kwargs: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, name, stop)
        with pytest.raises(KeyboardInterrupt):
            act()
