"""The files of a benchmark as they ship: models, generated pictures, ground truth, image ids.

    benchmark.json   ids of the training and validation images, which are found by content
    model/           the model trained on all training images, a diffusers pipeline
    checkpoint/      the same model half-way, for methods over checkpoints
    generated/       pictures that the model drew, with their record
    truth/           masks, losses, tables: see `creditline.evaluation.truth`

The images themselves do not ship: they belong to others.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from creditline.benchmarks.benchmark import Benchmark
from creditline.benchmarks.build import GENERATED, VALIDATION, everything, image_sets
from creditline.data.image_set import ImageSet
from creditline.errors import CreditlineError, DataError
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.fingerprint import of_json
from creditline.manifest import NAME as MANIFEST

IDS = "benchmark.json"


@dataclass(frozen=True)
class Shipped:
    """A benchmark on disk.

    Attributes:
        benchmark: which.
        folder: with the files above.
    """

    benchmark: Benchmark
    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def checkpoints(self) -> tuple[Path, Path]:
        """Half-way and at the end of training."""
        return self.folder / "checkpoint", self.model

    @property
    def generated(self) -> Path:
        return self.folder / GENERATED

    def truth(self) -> GroundTruth:
        """The ground truth."""
        return GroundTruth.read(self.folder / "truth")

    def images(self, data: Any = None) -> tuple[ImageSet, ImageSet]:
        """Training and validation images, found among those of the source by their content.

        Raises:
            DataError: if some are not there.
        """
        ids = json.loads((self.folder / IDS).read_text("utf-8"))
        images = everything(self.benchmark, data)
        return _found(images, ids["train"]), _found(images, ids[VALIDATION])


def find(benchmark: Benchmark, folder: str | Path | None = None) -> Shipped:
    """The files of a benchmark: those that ship with the package, or of a folder.

    Raises:
        CreditlineError: if they are not there.
    """
    place = Path(str(files("creditline.benchmarks"))) / "shipped" / benchmark.name
    place = place if folder is None else Path(folder)
    if not (place / IDS).is_file():
        raise CreditlineError(
            f"{place} holds no benchmark. Make one with `creditline benchmark {benchmark.name} "
            "--build DIR`."
        )
    return Shipped(benchmark, place)


def pack(benchmark: Benchmark, built: str | Path, out: str | Path, data: Any = None) -> Shipped:
    """Copy what ships out of what `build` made.

    A ground truth that is not finished is packed as it is: its missing losses are NaN, and
    methods are judged by the subsets that are complete.

    Args:
        benchmark: which.
        built: the folder of `build`.
        out: folder to write; what it held of this benchmark is replaced.
        data: as `build`.

    Raises:
        CreditlineError: if something is not there yet.
    """
    source, target = Path(built), Path(out)
    steps = benchmark.config.steps // 4 * 2
    parts = {
        "model": source / "full" / "model",
        "checkpoint": source / "full" / "checkpoints" / f"step-{steps:06d}",
        GENERATED: source / GENERATED,
        "truth": source / "truth",
    }
    for what, path in parts.items():
        if not path.is_dir():
            raise CreditlineError(f"{built} has no {what} yet ({path}). Finish building first.")
    sets = image_sets(benchmark, data)
    target.mkdir(parents=True, exist_ok=True)
    for name, path in parts.items():
        shutil.rmtree(target / name, ignore_errors=True)
        if name in ("model", "checkpoint"):
            shutil.copytree(path, target / name)
            continue
        (target / name).mkdir()
        for file in sorted(path.iterdir()):
            if file.suffix in (".png", ".npy", ".csv") or file.name == MANIFEST:
                shutil.copyfile(file, target / name / file.name)
    ids = {"train": sets["train"].ids, VALIDATION: sets[VALIDATION].ids}
    text = json.dumps({"name": benchmark.name, **ids}, indent=1)
    (target / IDS).write_text(text + "\n", "utf-8")
    return Shipped(benchmark, target)


def digest(shipped: Shipped) -> str:
    """Hash of the ground truth and the images, for results to say what they were judged by."""
    ids = (shipped.folder / IDS).read_text("utf-8")
    return of_json([ids, shipped.truth().digest()])


def _found(images: ImageSet, ids: Sequence[str]) -> ImageSet:
    rows = {key: row for row, key in reversed(list(enumerate(images.ids)))}
    missing = [key for key in ids if key not in rows]
    if missing:
        raise DataError(
            f"{len(missing)} of the benchmark's {len(ids)} images are not in {images.source} "
            f"({len(images)} images). Give the original pictures; they are found by their exact "
            "pixels, so copies saved as JPEG will not do."
        )
    return images.subset([rows[key] for key in ids])
