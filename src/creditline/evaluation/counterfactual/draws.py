"""Draws: how pictures were generated, with all that is needed to draw them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from creditline.data.image_set import ImageSet
from creditline.diffusion.ddim import SEEDS
from creditline.errors import DataError
from creditline.indexing.queries import gather
from creditline.settings import require


@dataclass(frozen=True)
class Draws:
    """Pictures to draw.

    Attributes:
        seeds: of each picture's noise.
        labels: class of each, or None for a model without.
        steps, eta: of the DDIM sampler.
    """

    seeds: tuple[int, ...]
    labels: tuple[int, ...] | None
    steps: int
    eta: float

    def __len__(self) -> int:
        return len(self.seeds)

    def subset(self, positions: Sequence[int]) -> Draws:
        """Some of them."""
        labels = None if self.labels is None else tuple(self.labels[i] for i in positions)
        return replace(self, seeds=tuple(self.seeds[i] for i in positions), labels=labels)

    def further(self, count: int) -> Draws:
        """As many more from the seeds that follow, of the same classes in turn.

        Raises:
            SettingsError: if there are no such seeds.
        """
        first = max(self.seeds) + 1
        last = first + count - 1
        require(last < SEEDS, f"Seeds run to {SEEDS - 1}", last, "Take fewer controls.")
        labels = self.labels
        repeated = None if labels is None else tuple(labels[i % len(labels)] for i in range(count))
        return replace(self, seeds=tuple(range(first, first + count)), labels=repeated)


def read_targets(source: Any, images: ImageSet, model: str | None = None) -> tuple[ImageSet, Draws]:
    """Pictures as they were drawn, and how.

    Args:
        source: a folder that `creditline generate` wrote, or pictures of one.
        images: the training images, whose shape the pictures have.
        model: fingerprint of the model that is said to have drawn them; None: not checked.

    Raises:
        DataError: if a picture is missing or of another shape, comes without its seed, was drawn in
            another way than the others, or by another model.
    """
    found = gather(source, images.spec, images.shape, runs=False)
    for name, detail in zip(found.images.names, found.details, strict=True):
        if "seed" not in detail:
            raise DataError(
                f"How {name} was drawn is not known. Targets are pictures in a folder that "
                "`creditline generate` wrote, beside its manifest.json."
            )
    others = [
        name
        for name, detail in zip(found.images.names, found.details, strict=True)
        if model is not None and detail["model"] != model
    ]
    if others:
        raise DataError(
            f"{len(others)} of {len(found.images)} targets, first {others[0]}, were drawn by "
            "another model than the run's, so a difference would be that of two models. Generate "
            "them with the run itself."
        )
    ways = {(detail["steps"], detail["eta"]) for detail in found.details}
    if len(ways) > 1:
        raise DataError(
            f"The targets were drawn in {len(ways)} ways (steps, eta): {sorted(ways)}. Take those "
            "of one."
        )
    ((steps, eta),) = ways
    seeds = tuple(detail["seed"] for detail in found.details)
    labelled = all("label" in detail for detail in found.details)
    labels = tuple(detail["label"] for detail in found.details) if labelled else None
    return found.images, Draws(seeds, labels, steps, eta)
