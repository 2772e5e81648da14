"""An image set as a folder of PNG files with a metadata.csv, which `load_images` reads back."""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from creditline.errors import DataError

if TYPE_CHECKING:
    from creditline.data.image_set import ImageSet


def save(images: ImageSet, folder: str | Path) -> Path:
    """Write every picture, prepared, and one metadata row each; see `ImageSet.save`.

    Classes that have names are written by name. Reading them back numbers the names in sorted
    order, so class indices survive if `label_names` was sorted and every class is present.

    Returns:
        The folder.

    Raises:
        DataError: if `folder` exists and is not an empty folder, or the set has masks.
    """
    images.require_whole("A saved folder")
    root = Path(folder)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(f"{root} exists and is not an empty folder. Choose another or remove it.")
    root.mkdir(parents=True, exist_ok=True)
    fields = {
        "contributor": images.contributors,
        "text": images.texts,
        "label": [
            label if label is None or images.label_names is None else images.label_names[label]
            for label in images.labels
        ],
    }
    # Without any value a column would come back as one of empty strings.
    table = {key: values for key, values in fields.items() if any(v is not None for v in values)}
    # A column that was read under another name must not come back as what it is called.
    taken = {*fields, "file_name"}
    table |= {key: values for key, values in images.columns.items() if key not in taken}
    files = _file_names(images.names)
    with (root / "metadata.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file_name", *table])
        for i, file in enumerate(files):
            path = root / file
            path.parent.mkdir(parents=True, exist_ok=True)
            images.image(i).save(path, format="PNG")
            row = [values[i] for values in table.values()]
            writer.writerow([file, *("" if value is None else value for value in row)])
    return root


def _file_names(names: tuple[str, ...]) -> list[str]:
    """Distinct relative PNG paths that stay inside the folder and resemble the names."""
    used: set[str] = set()
    files = []
    for name in names:
        parts = [p for p in PurePosixPath(name).parts if p not in ("/", "..", ".")]
        stem = PurePosixPath(*parts).with_suffix("") if parts else PurePosixPath("picture")
        file, again = f"{stem}.png", 1
        while file.lower() in used:  # also distinct where the file system ignores case
            again += 1
            file = f"{stem}-{again}.png"
        used.add(file.lower())
        files.append(file)
    return files
