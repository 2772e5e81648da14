"""Targets of a counterfactual as PNG files, and their place in a trace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from creditline.data.decode import decode
from creditline.errors import DamageError, DataError
from creditline.evaluation.counterfactual.result import BEFORE, CounterfactualResult
from creditline.files import make_folder, write_file
from creditline.json_schema import BOOL, NUMBER, TEXT, JsonSchema, array, integer, obj
from creditline.paths import inside
from creditline.records import Removal
from creditline.stored_json import read_json
from creditline.trace import Trace

IMAGES, RESULT = "images", "counterfactual.json"
SCHEMA = JsonSchema(
    obj(
        {
            "changes": array(
                obj(
                    {
                        "rule": TEXT,
                        "k": integer(0),
                        "image": TEXT,
                        "target": BOOL,
                        "l2": NUMBER,
                    }
                )
            )
        }
    )
)
SAME = 2.0
"""Largest mean difference, of 255 levels, between an image and the same one of another machine."""


def write_images(result: CounterfactualResult, folder: Path) -> None:
    """Write every target, as it was and after each removal, to `images/RULE-K/NAME`."""
    for (rule, k), images in result.images.items():
        place = folder / IMAGES / f"{rule}-{k}"
        for name, pixels in zip(result.names, images, strict=True):
            path = (place / name).with_suffix(".png")
            make_folder(path.parent)
            write_file(path, Image.fromarray(pixels).save, overwrite=True)


def add_removals(trace: Trace, folder: str | Path) -> Trace:
    """Return the trace with what became of its query images in a counterfactual evaluation.

    A query image is matched by its pixels, up to rounding: its mean difference from a target is at
    most 2 of 255 levels. Others stay as they are.

    Args:
        trace: of images that were targets of the evaluation.
        folder: results of `run_counterfactual`.

    Raises:
        DamageError: if a file of the results is missing or damaged.
        DataError: if no query image was a target.
    """
    root = Path(folder)
    changes = read_json(root / RESULT, "Run the evaluation again.", SCHEMA)["changes"]
    targets = [change for change in changes if change["target"]]
    names = list(dict.fromkeys(change["image"] for change in targets))
    before = {name: _pixels(_file(root, BEFORE, 0, name)) for name in names}
    queries, count = [], 0
    for query in trace:
        name = _match(_decoded(query.image, query.name), before)
        if name is not None:
            count += 1
            removals = tuple(
                Removal(
                    c["rule"], c["k"], c["l2"], _file(root, c["rule"], c["k"], name).read_bytes()
                )
                for c in targets
                if c["image"] == name
            )
            query = replace(query, removals=removals)
        queries.append(query)
    if count == 0:
        raise DataError(
            f"None of the {len(trace)} query images is among the {len(names)} targets of {folder}. "
            "Trace the images that the evaluation was run for."
        )
    return replace(trace, queries=tuple(queries))


def _match(pixels: np.ndarray, targets: dict[str, np.ndarray]) -> str | None:
    near = {
        name: float(np.abs(pixels - target).mean())
        for name, target in targets.items()
        if target.shape == pixels.shape
    }
    name = min(near, key=near.__getitem__, default=None)
    return None if name is None or near[name] > SAME else name


def _file(folder: Path, rule: str, k: int, name: str) -> Path:
    path = inside(folder, IMAGES, f"{rule}-{k}", Path(name).with_suffix(".png").as_posix())
    if not path.is_file():
        raise DamageError(f"{path} is missing. Run the evaluation again.")
    return path


def _pixels(path: Path) -> np.ndarray:
    return _decoded(path.read_bytes(), str(path))


def _decoded(png: bytes, name: str) -> np.ndarray:
    return np.asarray(decode(png, name).convert("RGB"), dtype=np.float64)
