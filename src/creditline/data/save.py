"""A folder of PNG files with a metadata.csv, which `load_images` reads back."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

from creditline.errors import DataError


def write_folder(
    folder: str | Path,
    names: Sequence[str],
    image: Callable[[int], Image.Image],
    columns: Mapping[str, Sequence[str | None]],
) -> Path:
    """Write images as PNG files, with one row of `metadata.csv` each.

    Args:
        folder: to write; must not exist or be empty.
        names: of the images; files are named after them.
        image: returns image `i`.
        columns: metadata, one value per image.

    Returns:
        The folder.

    Raises:
        DataError: if `folder` exists and is not an empty folder.
    """
    root = Path(folder)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(f"{root} exists and is not an empty folder. Choose another or remove it.")
    root.mkdir(parents=True, exist_ok=True)
    with (root / "metadata.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file_name", *columns])
        for i, file in enumerate(_file_names(names)):
            path = root / file
            path.parent.mkdir(parents=True, exist_ok=True)
            image(i).save(path, format="PNG")
            row = [values[i] for values in columns.values()]
            writer.writerow([file, *("" if value is None else value for value in row)])
    return root


def _file_names(names: Sequence[str]) -> list[str]:
    """Return distinct relative PNG paths that stay inside the folder and resemble the names."""
    used: set[str] = set()
    files = []
    for name in names:
        parts = [p for p in PurePosixPath(name).parts if p not in ("/", "..", ".")]
        stem = PurePosixPath(*parts).with_suffix("") if parts else PurePosixPath("image")
        file, n = f"{stem}.png", 1
        while file.lower() in used:  # also distinct where the file system ignores case
            n += 1
            file = f"{stem}-{n}.png"
        used.add(file.lower())
        files.append(file)
    return files
