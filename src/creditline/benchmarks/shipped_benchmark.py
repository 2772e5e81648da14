"""Files of a benchmark that ship: a part of the folder that `build` makes.

    benchmark.json      ids of the training and validation images, which are matched by content
    full/model          the model trained on all training images, a diffusers pipeline
    full/checkpoints/   the same model half-way, for methods over checkpoints
    base/model          model that every training run started from, if there is one
    generated/          images that the model generated, with their record
    truth/, shares/     masks, losses, tables: see `creditline.evaluation.truth`

Copied back, they are a folder that `build` continues. The images themselves do not ship, because
they belong to others.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from creditline.benchmarks.benchmark import Benchmark
from creditline.benchmarks.build import GENERATED, VALIDATION, image_sets, source_images
from creditline.data.image_set import ImageSet
from creditline.errors import CreditlineError, DataError, SettingsError
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.evaluation.truth.query_sets import QuerySets, load_query_sets
from creditline.fingerprint import of_json
from creditline.json_schema import TEXT, JsonSchema, array, obj
from creditline.manifest import NAME as MANIFEST
from creditline.manifest import Manifest
from creditline.owner import aside_prefix
from creditline.stored_json import read_json, write_json

IDS = "benchmark.json"
IDS_SCHEMA = JsonSchema(obj({"train": array(TEXT), VALIDATION: array(TEXT)}))
ADVICE = "Install Creditline again, or pack the benchmark again (--pack)."
EXCLUDED = ("trajectories", "tasks", "models")  # sampling runs and unfinished retraining


@dataclass(frozen=True)
class ShippedBenchmark:
    """A benchmark on disk.

    Attributes:
        benchmark: its definition.
        folder: holds the files above.
    """

    benchmark: Benchmark
    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "full" / "model"

    @property
    def checkpoints(self) -> tuple[Path, Path]:
        """Half-way and at the end of training."""
        return self.folder / _half_way(self.benchmark), self.model

    @property
    def base(self) -> Path | None:
        """Run folder of the base, if there is one."""
        return None if self.benchmark.base is None else self.folder / "base"

    @property
    def generated(self) -> Path:
        return self.folder / GENERATED

    def truth(self) -> GroundTruth:
        """The ground truth."""
        return GroundTruth.read(self.folder / "truth")

    def share_truth(self) -> GroundTruth | None:
        """The ground truth in which contributors have unequal shares, if there is one."""
        folder = self.folder / "shares"
        return GroundTruth.read(folder) if folder.is_dir() else None

    def images(self, data: Any = None) -> tuple[ImageSet, ImageSet]:
        """Load training and validation images, matched by content among those of the source.

        Raises:
            DataError: if some are missing.
        """
        ids = read_json(self.folder / IDS, ADVICE, IDS_SCHEMA)
        images = source_images(self.benchmark, data)
        return _select(images, ids["train"]), _select(images, ids[VALIDATION])

    def query_sets(self, train: ImageSet, validation: ImageSet) -> QuerySets:
        """Validation images and generated ones, prepared and labeled as queries of `train`."""
        sets: dict[str, Any] = {VALIDATION: validation, GENERATED: self.generated}
        return load_query_sets(sets, train)


def find(benchmark: Benchmark, folder: str | Path | None = None) -> ShippedBenchmark:
    """Locate the files of a benchmark, those that ship with the package or those of a folder.

    Raises:
        CreditlineError: if they are missing.
    """
    place = Path(str(files("creditline.benchmarks"))) / "shipped" / benchmark.name
    place = place if folder is None else Path(folder)
    if not (place / IDS).is_file():
        raise CreditlineError(
            f"{place} holds no benchmark. Make one with `creditline benchmark {benchmark.name} "
            "--build DIR`."
        )
    return ShippedBenchmark(benchmark, place)


def pack(
    benchmark: Benchmark, built: str | Path, out: str | Path, data: Any = None
) -> ShippedBenchmark:
    """Copy the files that ship out of a folder of `build`.

    An unfinished ground truth is packed as it is. Its missing losses are NaN, and methods are
    judged by the complete subsets.

    Args:
        benchmark: the benchmark.
        built: folder of `build`.
        out: folder to write; a benchmark in it is replaced.
        data: the images, as for `build`.

    Raises:
        CreditlineError: if a part is not built yet.
        SettingsError: if `out` holds other files, or overlaps with `built`.
    """
    source, target = Path(built), Path(out)
    parts = ["full/model", _half_way(benchmark), GENERATED, "truth"]
    parts += [] if benchmark.base is None else ["base/model"]
    for part in parts:
        if not (source / part).is_dir():
            raise CreditlineError(f"{built} has no {part} yet. Finish building first.")
    parts += [
        name for name in benchmark.retrainings if name not in parts and (source / name).is_dir()
    ]
    _require_replaceable(source, target)
    sets = image_sets(benchmark, data)
    shutil.rmtree(target, ignore_errors=True)
    for part in parts:
        shutil.copytree(source / part, target / part, ignore=shutil.ignore_patterns(*EXCLUDED))
    for run in ("full", "base")[: 1 if benchmark.base is None else 2]:
        shutil.copyfile(source / run / MANIFEST, target / run / MANIFEST)
    for path in target.rglob(MANIFEST):
        _forget_places(path)
    ids = {"train": sets["train"].ids, VALIDATION: sets[VALIDATION].ids}
    write_json(target / IDS, {"name": benchmark.name, **ids}, indent=1)
    return ShippedBenchmark(benchmark, target)


def unpack(case: ShippedBenchmark, out: str | Path) -> None:
    """Copy the files to a folder that `build` continues, unless it holds files already.

    They appear all at once: half of a ground truth would look like an unfinished one.
    """
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=aside_prefix(), dir=target.parent) as aside:
        draft = Path(aside) / "unpacked"
        shutil.copytree(case.folder, draft, ignore=shutil.ignore_patterns(IDS))
        if target.exists():  # an empty folder, which only some systems replace
            target.rmdir()
        os.replace(draft, target)


def _require_replaceable(source: Path, target: Path) -> None:
    """Refuse to delete other files than a benchmark, or the files to copy."""
    a, b = source.resolve(), target.resolve()
    if a == b or a in b.parents or b in a.parents:
        raise SettingsError(
            f"A benchmark is packed outside the folder of the build; {source} was to be packed "
            f"into {target}. Name another folder to pack into (--pack)."
        )
    if target.is_dir() and any(target.iterdir()) and not (target / IDS).is_file():
        raise SettingsError(
            f"{target} is not empty and holds no benchmark, which packing would replace; it was "
            "left as it is. Name an empty folder, or one that --pack wrote (--pack)."
        )
    if target.exists() and not target.is_dir():
        raise SettingsError(f"{target} is a file. Name a folder to pack into (--pack).")


def _half_way(benchmark: Benchmark) -> str:
    return f"full/checkpoints/step-{benchmark.config.steps // 4 * 2:06d}"


def _forget_places(path: Path) -> None:
    """Drop paths of the machine that wrote a manifest."""
    manifest = Manifest.read_any(path.parent)
    facts = {key: v for key, v in manifest.facts.items() if not key.endswith("_source")}
    replace(manifest, facts=facts).write(path.parent)


def digest(case: ShippedBenchmark) -> str:
    """Hash ground truths and images, to identify what results were judged by."""
    ids = json.dumps(read_json(case.folder / IDS, ADVICE, IDS_SCHEMA), indent=1) + "\n"
    shares = case.share_truth()
    further = [] if shares is None else [shares.digest()]
    return of_json([ids, case.truth().digest(), *further])


def _select(images: ImageSet, ids: Sequence[str]) -> ImageSet:
    rows = {key: row for row, key in reversed(list(enumerate(images.ids)))}
    missing = [key for key in ids if key not in rows]
    if missing:
        raise DataError(
            f"{len(missing)} of the benchmark's {len(ids)} images are not in {images.source} "
            f"({len(images)} images). Give the original images; they are matched by their exact "
            "pixels, so copies saved as JPEG do not work."
        )
    return images.subset([rows[key] for key in ids])
