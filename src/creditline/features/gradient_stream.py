"""Scores of held queries, while gradients of training images are computed and forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from creditline.checksum import damaged
from creditline.data.image_set import ImageSet
from creditline.errors import DamageError
from creditline.gradients.caption_turns import expand_images
from creditline.gradients.engine import Engine
from creditline.gradients.held_gradients import HeldGradients
from creditline.gradients.noise_plan import NoisePlan
from creditline.notice import notice
from creditline.runtime import Runtime
from creditline.runtime.allocator import keep_freed_memory
from creditline.runtime.determinism import exact_kernels
from creditline.runtime.threads import single_thread
from creditline.stored_arrays import read_array, write_array


@dataclass(frozen=True, eq=False)
class GradientStream:
    """What all parts of a pass over the training images share.

    Attributes:
        engine: computes explicit gradients.
        images: the training images.
        plan: their noise plan.
        held: the queries, multiplied by the curvature's inverse.
        folder: holds the scores of finished parts.
        batch: training images whose gradients are computed at once.
        part_rows: training images of a part.
    """

    engine: Engine
    images: ImageSet
    plan: NoisePlan
    held: HeldGradients
    folder: Path
    batch: int
    part_rows: int

    def to_device(self, device: str) -> Self:
        """Move the model to a device."""
        self.engine.denoiser.to(device)
        return self

    def path(self, part: int) -> Path:
        """File of the scores of one part."""
        return self.folder / f"scores-{part:06d}.npy"

    def rows(self, part: int) -> range:
        """Positions of the training images of one part."""
        start = part * self.part_rows
        return range(start, min(start + self.part_rows, len(self.images)))

    def columns(self, part: int) -> slice:
        """Where the scores of one part are among those of all."""
        rows = self.rows(part)
        return slice(rows.start, rows.stop)

    def score(self, part: int) -> np.ndarray:
        """Score the training images of one part, float64 of shape `(m, b)`."""
        engine, rows, scores = self.engine, self.rows(part), []
        is_tf32 = engine.precision == "tf32"
        with single_thread(), exact_kernels(engine.denoiser.device, is_tf32), keep_freed_memory():
            for start in range(0, len(rows), self.batch):
                some = rows[start : start + self.batch]
                noised = expand_images(engine.denoiser, self.images, some, self.plan, "train")
                gradients = [layer[:, 0] for layer in engine.gradients(noised)]
                scores.append(self.held.products(gradients))
        return np.concatenate(scores, axis=1)


def stream_scores(stream: GradientStream, runtime: Runtime) -> np.ndarray:
    """Score all training images part by part; parts that were finished before are read.

    Args:
        stream: what is scored.
        runtime: where parts run.

    Returns:
        float64 of shape `(m, n)`.
    """
    n = len(stream.images)
    scores = np.empty((len(stream.held), n))
    missing = []
    for part in range(-(-n // stream.part_rows)):
        stored = _read(stream, part)
        if stored is None:
            missing.append(part)
        else:
            scores[:, stream.columns(part)] = stored
    done = n - sum(len(stream.rows(part)) for part in missing)
    with runtime.progress("stream", n, "image", done=done) as bar:
        for part, _ in runtime.map(_write_part, stream, missing):
            scores[:, stream.columns(part)] = read_array(
                stream.path(part), "Run the command again."
            )
            bar.advance(len(stream.rows(part)))
    return scores


def _write_part(stream: GradientStream, part: int) -> None:
    write_array(stream.path(part), stream.score(part), durable=False)


def _read(stream: GradientStream, part: int) -> np.ndarray | None:
    """The scores of a part that was finished before; None where there are none to be used."""
    path, again = stream.path(part), "It is computed again."
    if not path.is_file():
        return None
    try:
        scores = read_array(path, again)
        if scores.shape != (len(stream.held), len(stream.rows(part))):
            raise damaged(path, again, f"it has the shape {scores.shape}")
    except DamageError as error:
        notice(str(error))
        return None
    return scores
