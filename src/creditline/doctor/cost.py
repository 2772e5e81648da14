"""Cost of an index in time and disk, measured on a few images."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import scipy.linalg
from joblib import cpu_count

from creditline.data.image_set import ImageSet
from creditline.doctor.disk import count_fits, estimate_disk, table_schema
from creditline.doctor.findings import Cost, Finding
from creditline.errors import ModelError
from creditline.features.few_bits import FewBitCode
from creditline.features.gradients import GradientExtractor
from creditline.features.residuals import ResidualExtractor
from creditline.features.table import chunk_rows
from creditline.gradients.preconditioning import Preconditioning
from creditline.gradients.projection import Projection
from creditline.gradients.spec import FeatureSpec
from creditline.indexing.build import default_shard_rows
from creditline.methods.attributor import Attributor
from creditline.runtime.allocator import keep_freed_memory
from creditline.units import size

PROBE = 768
REPEATS, ENOUGH = (2, 8), 4.0
"""Least and most repetitions of a measurement, and seconds after which no more follow."""
FEW_DRAWS = 16
"""Evaluations that a fit of curvature is measured on."""
PASSES = 3
"""Passes over the features, for a mean, a kernel and train-side factors."""

Seconds = tuple[float, float]
"""CPU time and wall time."""


def measure(
    method: Attributor,
    source: GradientExtractor,
    images: ImageSet,
    n: int,
    workers: int,
    disk: Path,
    stock: ImageSet | None = None,
) -> Cost:
    """Extract the features of `images` and extrapolate.

    Args:
        method: decides curvature and the queries' noise plan.
        source: extracts features with the settings of the index.
        images: a few images.
        n: number of images of the index.
        workers: number of processes.
        disk: a folder on the disk of the index.
        stock: all images, where they are known, for the sizes of their thumbnails.
    """
    rows = default_shard_rows(source, source.denoisers)
    disk_estimate = estimate_disk(method, source, images if stock is None else stock, n, rows)
    start = _start_seconds(method, source, images, n)
    (cpu, wall), warm = _image_seconds(source, images, min(rows, n))
    cpu, wall, start = (
        cpu + disk_estimate.write_seconds,
        wall + disk_estimate.write_seconds,
        start + warm,
    )
    on_cpu = source.denoisers[0].device.type == "cpu"
    seconds = cpu if on_cpu else wall
    longer = source.query_plan.evaluations / source.spec.plan.evaluations
    scan = _scan_seconds(source) * n
    # With errors, one pass over the rows and one over those of each half.
    query = seconds * longer + scan * source.models * count_fits(source)
    return Cost(
        n=n,
        workers=workers,
        evaluations=source.spec.plan.evaluations,
        dim=source.dim,
        measured=len(images),
        cpu_seconds=cpu,
        wall_seconds=wall,
        start_seconds=start,
        hours=(start + n * seconds / _at_once(workers, on_cpu)) / 3600,
        image_bytes=disk_estimate.image_bytes,
        build_bytes=disk_estimate.build_bytes,
        query_seconds=query,
        trace_seconds=_fitting_seconds(method, source, n, scan),
        trace_bytes=disk_estimate.trace_bytes,
        free_bytes=shutil.disk_usage(existing(disk)).free,
    )


def add_residuals(cost: Cost, source: ResidualExtractor, images: ImageSet) -> Cost:
    """The cost of an index that holds residuals as well."""
    extract = partial(source.extract, images, reduction=source.reduction)
    cpu, wall = _mean([partial(extract, [i]) for i in range(len(images))])
    on_cpu = source.denoisers[0].device.type == "cpu"
    hours = cost.n * (cpu if on_cpu else wall) / _at_once(cost.workers, on_cpu) / 3600
    row = table_schema(source).feature_bytes
    return replace(
        cost,
        dim=cost.dim + source.dim,
        cpu_seconds=cost.cpu_seconds + cpu,
        wall_seconds=cost.wall_seconds + wall,
        hours=cost.hours + hours,
        image_bytes=cost.image_bytes + row,
        build_bytes=cost.build_bytes + cost.n * row,
    )


def check_workers(cost: Cost) -> list[Finding]:
    """Warn about more processes than cores."""
    cores = cpu_count()
    if cost.workers <= cores:
        return []
    text = f"{cost.workers} workers on {cores} cores; the time is estimated for {cores}"
    return [Finding("workers", "warn", text, f"Use --workers {cores}.")]


def check_disk(cost: Cost) -> Finding:
    """Check that the index fits on the disk."""
    text = f"{size(cost.total_bytes)} needed, {size(cost.free_bytes)} free"
    if cost.total_bytes > cost.free_bytes:
        remedy = "Lower dim (--dim), or choose another disk."
        if cost.build_bytes < cost.free_bytes:
            remedy = "Trace with --no-keep, which adds the curvature alone, or lower dim (--dim)."
        return Finding("disk", "fail", text, remedy)
    if 2 * cost.total_bytes > cost.free_bytes:
        return Finding("disk", "warn", text, "Free some space before you start.")
    return Finding("disk", "ok", text)


def existing(folder: Path) -> Path:
    """Find the nearest existing folder at or above a path."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def _at_once(workers: int, on_cpu: bool) -> int:
    """Count the workers that run at the same time; on a GPU they take turns."""
    return min(workers, cpu_count()) if on_cpu else 1


def _timed(work: Callable[[], object]) -> Seconds:
    """Measure CPU time and wall time."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def _mean(works: Sequence[Callable[[], object]]) -> Seconds:
    """Average a few measurements, of each function in turn."""
    measured: list[Seconds] = []
    least, most = REPEATS
    while len(measured) < least or (len(measured) < most and sum(x[0] for x in measured) < ENOUGH):
        measured.append(_timed(works[len(measured) % len(works)]))
    cpu, wall = np.mean(measured, axis=0)
    return float(cpu), float(wall)


def _start_seconds(
    method: Attributor, source: GradientExtractor, images: ImageSet, n: int
) -> float:
    """Measure the start: weights hashed, curvature and projection fitted, engines checked."""
    settings = source.denoisers, source.spec, source.query_plan
    hashing = _timed(lambda: [denoiser.fingerprint for denoiser in source.denoisers])[0]
    fresh = GradientExtractor(*settings)
    preconditioning = method.features.preconditioning  # type: ignore[attr-defined]
    draws = preconditioning.preconditioner_draws  # of which `source` has few
    fitting = _curvature_seconds(source, images, draws) + _projection_seconds(source, images, n)
    if source.needs_fit:
        fresh.load_state(source.state())

    def check() -> None:
        with suppress(ModelError):  # a finding of its own
            fresh.check(images)

    return fitting + hashing + _timed(check)[0]


def with_few_draws(spec: FeatureSpec) -> FeatureSpec:
    """Let a preconditioner be fitted to few evaluations, which is enough to examine a model."""
    if not spec.preconditioning.is_active:
        return spec
    few = min(FEW_DRAWS, spec.preconditioning.preconditioner_draws)
    return replace(spec, preconditioning=replace(spec.preconditioning, preconditioner_draws=few))


def _curvature_seconds(source: GradientExtractor, images: ImageSet, draws: int) -> float:
    """Measure the fit of a preconditioner on few evaluations, and extrapolate to all."""
    preconditioning = source.spec.preconditioning
    if not preconditioning.is_active:
        return 0.0

    def fit(draws: int) -> float:
        few = replace(preconditioning, preconditioner_draws=draws)
        spec = replace(source.spec, preconditioning=few, projection=Projection("none"), bits=16)
        return _timed(partial(GradientExtractor(source.denoisers, spec).fit, images))[0]

    few = FEW_DRAWS
    first, second = fit(few), fit(2 * few)
    return max(first, first + (second - first) * (draws / few - 1))


def _projection_seconds(source: GradientExtractor, images: ImageSet, n: int) -> float:
    """Measure the fit of a projection to explicit gradients, and extrapolate to an index."""
    if not source.spec.projection.needs_fit:
        return 0.0
    spec = replace(source.spec, preconditioning=Preconditioning())
    fresh = GradientExtractor(source.denoisers, spec)
    share = fresh.images_to_fit(n) / fresh.images_to_fit(len(images))
    return share * _timed(partial(fresh.fit, images))[0]


def _image_seconds(source: GradientExtractor, images: ImageSet, rows: int) -> tuple[Seconds, float]:
    """Measure seconds per image in shards of `rows` rows, and extra CPU time of the first image.

    A shard is extracted in groups, the last of which may be smaller.
    """
    extract = partial(source.extract, reduction=source.reduction)
    group = min(source.batch(source.spec.plan.evaluations), rows)
    count, first = len(images), _timed(partial(extract, images, [0]))[0]

    def of(size: int) -> Seconds:
        starts = range(0, count, size) if size < count else [0]
        return _mean([partial(extract, images, _around(s, size, count)) for s in starts])

    with keep_freed_memory():  # from group to group, as within a shard
        full, rest = of(group), of(rows % group) if rows % group else (0.0, 0.0)
    cpu, wall = ((rows // group * w + r) / rows for w, r in zip(full, rest, strict=True))
    return (cpu, wall), max(0.0, first - cpu)


def _around(start: int, length: int, count: int) -> list[int]:
    return [(start + i) % count for i in range(length)]


def _scan_seconds(source: GradientExtractor) -> float:
    """Measure the score of one query for one row of stored features."""
    rows, (bits,) = chunk_rows(source.dim), source.bits
    if bits == 16:
        half, query = np.ones((rows, source.dim), np.float16), np.ones(source.dim)
        return min(_timed(lambda: half.astype(np.float64) @ query)[1] for _ in range(2)) / rows
    code, queries = FewBitCode(bits), np.ones((1, source.dim), np.float32)
    codes = np.zeros((rows, source.dim // code.per_byte), np.uint8)
    factors = np.ones(rows)
    return min(_timed(lambda: code.products(codes, factors, queries))[1] for _ in range(2)) / rows


def _fitting_seconds(method: Attributor, source: GradientExtractor, n: int, scan: float) -> float:
    """Estimate the fit of the first trace, from small products and decompositions."""
    times = source.models * count_fits(source)
    reading = times * PASSES * scan
    if not method.capabilities.damped:
        return reading
    s, longer = min(n, source.dim), max(n, source.dim)
    side = np.random.default_rng(0).standard_normal((PROBE, PROBE))
    product = min(_timed(lambda: side @ side)[1] for _ in range(2)) / PROBE**3
    gram = side @ side.T
    eigen = _timed(lambda: scipy.linalg.eigh(gram, driver="evd", check_finite=False))[1]
    # Half a product for the symmetric kernel, one for its inverse, one for the rows.
    products = product * (1.5 * s * s * longer + s**3)
    return reading + times * (products + eigen / PROBE**3 * s**3)
