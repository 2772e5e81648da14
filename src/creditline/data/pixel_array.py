"""Prepared pixels: in memory up to a budget, decoded again on demand beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from creditline.data.decode import decode
from creditline.data.image_spec import ImageSpec
from creditline.data.preparation import prepare
from creditline.errors import DataError
from creditline.fingerprint import of_bytes

MEMORY_LIMIT = 1 << 30
"""Bytes of decoded pixels that one image set keeps in memory."""

CARRIED = 64 << 20
"""Bytes of decoded pixels sent along to another process when they can be decoded there."""


class PixelReader(Protocol):
    """Where encoded images come from. Sources pickle, and open their files lazily."""

    label: str

    def read(self, key: str) -> bytes:
        """The encoded image `key`; DataError, naming it, if it cannot be read."""
        ...


def content_hash(pixels: np.ndarray) -> str:
    """Content hash of prepared pixels uint8 [H, W, 3] and their shape: 32 hex characters."""
    return of_bytes(repr(pixels.shape).encode(), np.ascontiguousarray(pixels).tobytes())


class PixelArray:
    """The prepared pixels of n images, the first of them held in memory.

    Args:
        held: uint8 [c, H, W, 3], c <= n; the images kept in memory.
        ids: content hashes, n of them. An image decoded again must still have its hash.
        keys: what `source` calls the n images.
        source: where to read images that are not held; None only if all are.
        spec: how to prepare them.
    """

    def __init__(
        self,
        held: np.ndarray,
        ids: tuple[str, ...],
        keys: tuple[str, ...],
        source: PixelReader | None,
        spec: ImageSpec,
    ) -> None:
        self.held, self.ids, self.keys, self.source, self.spec = held, ids, keys, source, spec

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3) of every image."""
        return self.held.shape[1], self.held.shape[2], 3

    def array(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """A fresh uint8 [b, H, W, 3].

        Raises:
            DataError: if an image has to be read again and is gone or has changed.
        """
        rows = np.asarray(rows, dtype=np.int64)
        out = np.empty((len(rows), *self.shape), dtype=np.uint8)
        is_held = rows < len(self.held)
        out[is_held] = self.held[rows[is_held]]
        for at in np.flatnonzero(~is_held):
            out[at] = self._again(int(rows[at]))
        return out

    def take(self, rows: np.ndarray) -> PixelArray:
        """Only these images, in this order; held ones come first only if they did before."""
        is_held = rows < len(self.held)
        lead = len(rows) if is_held.all() else int(np.argmin(is_held))
        return PixelArray(
            self.held[rows[:lead]],
            tuple(self.ids[r] for r in rows),
            tuple(self.keys[r] for r in rows) if self.keys else (),
            self.source,
            self.spec,
        )

    def _again(self, row: int) -> np.ndarray:
        if self.source is None:
            raise IndexError(f"there is no image {row} among {len(self.ids)}")
        key = self.keys[row]
        name = f"{self.source.label}: {key}"
        pixels = prepare(decode(self.source.read(key), name), self.spec, name)
        if content_hash(pixels) != self.ids[row]:
            raise DataError(
                f"{name} has changed since it was loaded. Load the images again, and make "
                "whatever was computed from the old ones again too."
            )
        return pixels

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if self.source is not None and self.held.nbytes > CARRIED:
            state["held"] = self.held[: CARRIED // max(1, self.held[0].nbytes)].copy()
        return state
