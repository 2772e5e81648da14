"""Targets of a counterfactual as PNG files, and their place in a trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from creditline.data.decode import decode
from creditline.errors import DamageError
from creditline.evaluation.counterfactual.result import BEFORE, CounterfactualResult
from creditline.explain import explained
from creditline.files import make_folder, write_file
from creditline.json_schema import BOOL, NUMBER, TEXT, JsonSchema, array, integer, obj
from creditline.notice import notice
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
SAME = 4.0
"""Largest mean difference, of 255 levels, of an image that was rounded or resized otherwise."""


def write_images(result: CounterfactualResult, folder: Path) -> None:
    """Write every target, as it was and after each removal, to `images/RULE-K/NAME`."""
    for (rule, k), images in result.images.items():
        place = folder / IMAGES / f"{rule}-{k}"
        for name, pixels in zip(result.names, images, strict=True):
            path = (place / name).with_suffix(".png")
            make_folder(path.parent)
            write_file(path, Image.fromarray(pixels).save, overwrite=True)


@dataclass(frozen=True)
class TargetRemovals:
    """One target of a counterfactual evaluation.

    Attributes:
        before: the target, RGB.
        removals: what became of it.
    """

    before: Image.Image
    removals: tuple[Removal, ...]

    def distance(self, image: Image.Image) -> float:
        """Mean difference from an image, of 255 levels; the target is resized to its size."""
        target = self.before.resize(image.size, Image.Resampling.LANCZOS)
        return float(np.abs(np.asarray(image, float) - np.asarray(target, float)).mean())


@explained
def read_removals(folder: str | Path) -> list[TargetRemovals]:
    """Read what became of the targets of a counterfactual evaluation.

    Args:
        folder: results of `run_counterfactual`.

    Raises:
        DamageError: if a file of the results is missing or damaged.
    """
    root = Path(folder)
    changes = read_json(root / RESULT, "Run the evaluation again.", SCHEMA)["changes"]
    targets: dict[str, list[Removal]] = {}
    for c in changes:
        if c["target"]:
            image = _file(root, c["rule"], c["k"], c["image"]).read_bytes()
            removal = Removal(c["rule"], c["k"], c["l2"], image)
            targets.setdefault(c["image"], []).append(removal)
    return [
        TargetRemovals(_rgb(_file(root, BEFORE, 0, name).read_bytes(), name), tuple(removals))
        for name, removals in targets.items()
    ]


def add_removals(trace: Trace, targets: Sequence[TargetRemovals]) -> Trace:
    """Return the trace with what became of its query images when training images were removed.

    A query image is matched by its pixels, up to rounding and resizing: its mean difference from a
    target is at most `SAME`. Others stay as they are; a notice says so if all of them do.

    Args:
        trace: of images that were targets.
        targets: of `read_removals`.
    """
    queries = []
    for query in trace:
        image = _rgb(query.image, query.name)
        near = min(targets, key=lambda target: target.distance(image), default=None)
        if near is not None and near.distance(image) <= SAME:
            query = replace(query, removals=near.removals)
        queries.append(query)
    if not any(query.removals for query in queries):
        notice(
            f"None of the {len(queries)} query images is among the {len(targets)} targets, so the "
            "trace shows no removals. Trace the images that the evaluation was run for."
        )
    return replace(trace, queries=tuple(queries))


def _file(folder: Path, rule: str, k: int, name: str) -> Path:
    path = inside(folder, IMAGES, f"{rule}-{k}", Path(name).with_suffix(".png").as_posix())
    if not path.is_file():
        raise DamageError(f"{path} is missing. Run the evaluation again.")
    return path


def _rgb(png: bytes, name: str) -> Image.Image:
    return decode(png, name).convert("RGB")
