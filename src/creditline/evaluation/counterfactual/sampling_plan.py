"""Draws: how pictures were generated, with all that is needed to draw them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from creditline.data.image_set import ImageSet
from creditline.diffusion.ddim import SEEDS
from creditline.errors import DataError
from creditline.indexing.queries import gather
from creditline.settings import require


@dataclass(frozen=True)
class SamplingPlan:
    """Pictures to draw.

    Attributes:
        seeds: of each picture's noise.
        labels: class of each, or None for a model without.
        steps, eta: of the DDIM sampler.
        prompts: of each picture, or None for a model that reads none.
        guidance: scale of classifier-free guidance.
        negative: the prompt that all are led away from, if any.
    """

    seeds: tuple[int, ...]
    labels: tuple[int, ...] | None
    steps: int
    eta: float
    prompts: tuple[str, ...] | None = None
    guidance: float = 1.0
    negative: str | None = None

    def __len__(self) -> int:
        return len(self.seeds)

    def subset(self, positions: Sequence[int]) -> SamplingPlan:
        """Some of them."""
        labels = None if self.labels is None else tuple(self.labels[i] for i in positions)
        prompts = None if self.prompts is None else tuple(self.prompts[i] for i in positions)
        seeds = tuple(self.seeds[i] for i in positions)
        return replace(self, seeds=seeds, labels=labels, prompts=prompts)

    def further(self, count: int) -> SamplingPlan:
        """As many more from the seeds that follow, of the same classes or prompts in turn.

        Raises:
            SettingsError: if there are no such seeds.
        """
        first = max(self.seeds) + 1
        last = first + count - 1
        require(last < SEEDS, f"Seeds run to {SEEDS - 1}", last, "Take fewer controls.")
        repeated = self.subset([i % len(self) for i in range(count)])
        return replace(repeated, seeds=tuple(range(first, first + count)))

    def sampling(self) -> dict[str, Any]:
        """All of it but the seeds, as arguments of `sample`."""
        values = asdict(self)
        return {name: value for name, value in values.items() if name != "seeds"}

    def request(self) -> dict[str, Any]:
        """For a manifest; what pictures were not led by is not in it."""
        plain = {"prompts": None, "guidance": 1.0, "negative": None}
        return {k: v for k, v in asdict(self).items() if k not in plain or v != plain[k]}


def read_targets(
    source: Any, images: ImageSet, model: str | None = None
) -> tuple[ImageSet, SamplingPlan]:
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
    ways = {
        (d["steps"], d["eta"], d.get("guidance", 1.0), d.get("negative_prompt"))
        for d in found.details
    }
    if len(ways) > 1:
        raise DataError(
            f"The targets were drawn in {len(ways)} ways (steps, eta, guidance, negative prompt): "
            f"{sorted(ways, key=str)}. Take those of one."
        )
    ((steps, eta, guidance, negative),) = ways
    seeds = tuple(detail["seed"] for detail in found.details)
    labeled = all("label" in detail for detail in found.details)
    labels = tuple(detail["label"] for detail in found.details) if labeled else None
    prompted = all("prompt" in detail for detail in found.details)
    prompts = tuple(detail["prompt"] for detail in found.details) if prompted else None
    return found.images, SamplingPlan(seeds, labels, steps, eta, prompts, guidance, negative)
