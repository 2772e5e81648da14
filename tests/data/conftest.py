"""Small image folders, zip files and images for the data tests."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def encode(array: np.ndarray, format: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format, **options)
    return stream.getvalue()


@pytest.fixture
def travel() -> Callable[[Any], Any]:
    """What arrives in another process."""
    return lambda thing: pickle.loads(pickle.dumps(thing))  # noqa: S301 (its own bytes)


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """uint8 noise of any shape, the same for the same seed."""

    def make(*shape: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write files, given as name to bytes, text or pixels, into a fresh folder."""

    def make(files: dict[str, bytes | str | np.ndarray], name: str = "images") -> Path:
        root = tmp_path / name
        for file, content in files.items():
            path = root / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, np.ndarray):
                content = encode(content)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return root

    return make


@pytest.fixture
def folder(write: Callable[..., Path], noise: Callable[..., np.ndarray]) -> Path:
    """Six 8x6 images in two folders, without metadata."""
    return write(
        {f"{kind}/{i}.png": noise(6, 8, 3, seed=i + 10 * len(kind)) for i in range(3)
         for kind in ("cat", "horse")}
    )  # fmt: skip


@pytest.fixture
def zipped() -> Callable[..., Path]:
    """A zip file of a folder, its entries below `prefix`."""

    def make(root: Path, prefix: str = "", **options: int) -> Path:
        path = root.parent / f"{root.name}.zip"
        with zipfile.ZipFile(path, "w", **options) as archive:
            for file in root.rglob("*"):
                archive.write(file, prefix + file.relative_to(root).as_posix())
        return path

    return make
