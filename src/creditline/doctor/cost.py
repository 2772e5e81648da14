"""What an index costs in time and disk, measured on a few images with the settings asked for."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import scipy.linalg
from joblib import cpu_count

from creditline.data.image_set import ImageSet
from creditline.doctor.findings import Cost, Finding
from creditline.features import CHUNK_ROWS
from creditline.gradients.source import GradientSource
from creditline.indexing.store import FACTS
from creditline.indexing.thumbnail import compact
from creditline.methods.base import Method, RidgeMethod
from creditline.units import size

PROBE = 384
NORM_BYTES = ROW_BYTES = 8


def measure(
    method: Method, source: GradientSource, images: ImageSet, n: int, workers: int, disk: Path
) -> Cost:
    """Extract the features of `images` and extrapolate.

    Args:
        method: decides curvature and the queries' noise plan.
        source: extracts features with the settings asked for.
        images: a few images.
        n: images to reckon with.
        workers: processes to reckon with.
        disk: a folder on the disk that would hold the index.
    """
    cpu, wall = _image_seconds(source, images)
    on_cpu = source.denoisers[0].device.type == "cpu"
    seconds = cpu if on_cpu else wall
    longer = source.query_plan.evaluations / source.spec.plan.evaluations
    scans = source.models * (5 if source.halves else 1)  # the whole, and either half with errors
    query = seconds * longer + _scan_seconds(source.dim) * scans * n / CHUNK_ROWS
    ridge = isinstance(method, RidgeMethod)
    # With halves of the noise every feature has an error, and each half a kernel of its own.
    tables, kernels = source.models * (1 + source.halves), source.models * (1 + 2 * source.halves)
    curvature_seconds = _curvature_seconds(n, source.dim) * kernels if ridge else 0.0
    features = tables * (source.dim * 2 + NORM_BYTES)
    per_image = features + float(np.mean([_row_bytes(images, i) for i in range(len(images))]))
    s = min(n, source.dim)
    curvature = kernels * 8.0 * (s * s + s + source.dim) if ridge else 0.0
    return Cost(
        n=n,
        workers=workers,
        evaluations=source.spec.plan.evaluations,
        dim=source.dim,
        measured=len(images),
        cpu_seconds=cpu,
        wall_seconds=wall,
        hours=n * seconds / _at_once(workers, on_cpu) / 3600,
        image_bytes=per_image,
        total_bytes=n * per_image + curvature,
        query_seconds=query,
        curvature_seconds=curvature_seconds,
        curvature_bytes=curvature,
        free_bytes=shutil.disk_usage(existing(disk)).free,
    )


def check_workers(cost: Cost) -> list[Finding]:
    """More processes than cores do not help."""
    cores = cpu_count()
    if cost.workers <= cores:
        return []
    text = f"{cost.workers} workers on {cores} cores; the time is reckoned for {cores}"
    return [Finding("workers", "warn", text, f"Use --workers {cores}.")]


def check_disk(cost: Cost) -> Finding:
    """Whether the index fits on the disk."""
    text = f"{size(cost.total_bytes)} needed, {size(cost.free_bytes)} free"
    if cost.total_bytes > cost.free_bytes:
        return Finding("disk", "fail", text, "Lower dim (--dim), or choose another disk.")
    if 2 * cost.total_bytes > cost.free_bytes:
        return Finding("disk", "warn", text, "Make room before you start.")
    return Finding("disk", "ok", text)


def existing(folder: Path) -> Path:
    """The nearest folder at or above one that may not exist yet."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def _at_once(workers: int, on_cpu: bool) -> int:
    """Workers that really run at the same time; they share a GPU."""
    return min(workers, cpu_count()) if on_cpu else 1


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of CPU and on the clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def _image_seconds(source: GradientSource, images: ImageSet) -> tuple[float, float]:
    """Seconds of CPU and on the clock per image, in groups as large as an index works in."""
    extract = partial(source.extract, parts=source.parts)
    extract(images, [0])  # the first call allocates, and builds what is kept
    group, count = source.batch(source.spec.plan.evaluations), len(images)
    groups = [[i] for i in range(count)] if group == 1 else [[i % count for i in range(group)]]
    timed = [_timed(partial(extract, images, rows)) for rows in groups]
    return min(cpu for cpu, _ in timed) / group, min(wall for _, wall in timed) / group


def _row_bytes(images: ImageSet, i: int) -> int:
    """Picture and facts of one row of the store."""
    facts = [getattr(images, f"{name}s")[i] for name in FACTS if name != "columns"]
    columns = json.dumps({key: values[i] for key, values in images.columns.items()})
    text = sum(len(str(fact).encode()) for fact in facts if fact is not None)
    return ROW_BYTES + len(compact(images.image(i))) + text + len(columns.encode())


def _scan_seconds(dim: int) -> float:
    """Scoring one query against a chunk of stored features: half to double, then products."""
    rows, query = np.ones((CHUNK_ROWS, dim), np.float16), np.ones(dim)
    return min(_timed(lambda: rows.astype(np.float64) @ query)[1] for _ in range(2))


def _curvature_seconds(n: int, dim: int) -> float:
    """Gram matrix of the smaller side and its eigendecomposition, from small ones of each."""
    s = min(n, dim)
    side = np.random.default_rng(0).standard_normal((PROBE, PROBE))
    product = min(_timed(lambda: side @ side)[1] for _ in range(2))
    gram = side @ side.T
    eigen = _timed(lambda: scipy.linalg.eigh(gram, driver="evd", check_finite=False))[1]
    return product * (s / PROBE) ** 2 * max(n, dim) / PROBE + eigen * (s / PROBE) ** 3
