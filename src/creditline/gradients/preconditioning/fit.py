"""Fitting a preconditioner: passes over evaluations of training images, in parts that resume."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from creditline import fingerprint
from creditline.data.image_set import ImageSet
from creditline.errors import NumericsError
from creditline.gradients.engine import Engine
from creditline.gradients.preconditioning.draws import CurvatureDraws
from creditline.gradients.preconditioning.pass_files import FitFiles, Sums, add_sums
from creditline.gradients.preconditioning.preconditioner import Preconditioner
from creditline.lock import locked
from creditline.runtime import ProgressTask, Runtime
from creditline.runtime.allocator import keep_freed_memory
from creditline.runtime.determinism import exact_kernels
from creditline.runtime.threads import single_thread
from creditline.settings import to_dict

PARTS = 16
"""Number of parts of a pass; an interruption loses one of them per worker."""
OF_SCALE = ("preconditioner_damping", "preconditioner_damping_unit", "preconditioner_filter")
"""Settings that act after the fit."""


@dataclass(frozen=True)
class CurvaturePass:
    """What all parts of a pass share.

    Attributes:
        preconditioner: with what earlier passes learned.
        engine: computes explicit gradients of the training loss.
        images: the training images.
        draws: evaluations.
        files: of the fit.
        number: of the pass.
    """

    preconditioner: Preconditioner
    engine: Engine
    images: ImageSet
    draws: CurvatureDraws
    files: FitFiles
    number: int

    def to_device(self, device: str) -> Self:
        """Move the model to a device."""
        self.engine.denoiser.to(device)
        return self

    def add_up(self, part: int) -> Sums:
        """Add up the statistics of one part, on the CPU."""
        rows, engine = self.draws.rows[part::PARTS], self.engine
        size = max(1, engine.microbatch // self.draws.each)
        sums: Sums = {}
        is_tf32 = engine.precision == "tf32"
        with single_thread(), exact_kernels(engine.denoiser.device, is_tf32), keep_freed_memory():
            for start in range(0, len(rows), size):
                some = rows[start : start + size].tolist()
                noised = self.draws.noised_images(engine.denoiser, self.images, some, self.number)
                add_sums(sums, self.preconditioner.add_up(self.number, engine, noised))
        for name, value in sums.items():
            if not torch.isfinite(value).all():
                raise NumericsError(
                    f"The curvature of the training images is not finite in {name!r}. Half "
                    "precision overflows easily: use fp32 or bf16 (--precision), or run "
                    "`creditline doctor` on the model."
                )
        return {name: value.cpu().contiguous() for name, value in sums.items()}


def fit_preconditioner(
    preconditioner: Preconditioner,
    engine: Engine,
    images: ImageSet,
    folder: Path,
    runtime: Runtime,
    mirror: bool = False,
) -> None:
    """Fit a preconditioner under one model; continue where a former call stopped.

    Args:
        preconditioner: is fitted.
        engine: computes explicit gradients of the training loss.
        images: the training images.
        folder: holds the files of fits; one that is complete is loaded.
        runtime: where parts run.
        mirror: mirror the training images in half of the evaluations.

    Raises:
        IndexMismatchError: if a file there was fitted to other images or another model.
        LockedError: if another process fits the same.
        NumericsError: if a gradient is not finite.
    """
    draws = CurvatureDraws(preconditioner.settings, len(images), mirror)
    request = describe_fit(preconditioner, engine, images, mirror)
    files = FitFiles(folder / fingerprint.of_json(request), request)
    if _load_result(preconditioner, files):
        return
    with locked(files.folder):
        if not _load_result(preconditioner, files):
            _fit(preconditioner, engine, images, draws, files, runtime)


def _load_result(preconditioner: Preconditioner, files: FitFiles) -> bool:
    """Load what a former fit has stored; whether there is anything."""
    result = files.read(files.result)
    if result is None:
        return False
    preconditioner.load_state({name: value.numpy() for name, value in result.items()})
    return True


def _fit(
    preconditioner: Preconditioner,
    engine: Engine,
    images: ImageSet,
    draws: CurvatureDraws,
    files: FitFiles,
    runtime: Runtime,
) -> None:
    parts = min(PARTS, len(draws.rows))
    with runtime.progress("curvature", preconditioner.passes * parts, "part") as bar:
        for number in range(preconditioner.passes):
            job = CurvaturePass(preconditioner, engine, images, draws, files, number)
            preconditioner.learn(number, _run_pass(job, parts, runtime, bar), draws.evaluations)
    state = {name: torch.from_numpy(array) for name, array in preconditioner.state().items()}
    files.write(files.result, state)
    files.clear()


def describe_fit(
    preconditioner: Preconditioner, engine: Engine, images: ImageSet, mirror: bool = False
) -> dict[str, Any]:
    """Return everything that decides the result of a fit, JSON-ready."""
    settings = to_dict(preconditioner.settings)
    return {
        "settings": {k: v for k, v in settings.items() if k not in OF_SCALE},
        "model": engine.denoiser.fingerprint,
        "images": images.fingerprint,
        "layers": fingerprint.of_json([[x.name, x.parameters] for x in preconditioner.layers]),
        "precision": engine.precision,
        **({"mirror": True} if mirror else {}),
    }


def _run_pass(job: CurvaturePass, parts: int, runtime: Runtime, bar: ProgressTask) -> Sums:
    """Return the sums of a pass."""
    files, number = job.files, job.number
    total = files.read(files.total(number))
    if total is not None:
        bar.advance(parts)
        return total
    sums, done = files.read_first_parts(number)
    finished = {p for p in range(done, parts) if files.is_intact(files.part(number, p))}
    bar.advance(done + len(finished))
    missing = [part for part in range(done, parts) if part not in finished]
    for part, _ in runtime.map(_write_part, job, missing):
        finished.add(part)
        bar.advance(1)
        while done in finished:
            files.merge(number, done, sums)
            done += 1
    for part in range(done, parts):
        files.merge(number, part, sums)
    files.write(files.total(number), sums, parts)
    return sums


def _write_part(job: CurvaturePass, part: int) -> None:
    job.files.write(job.files.part(job.number, part), job.add_up(part), 1)
