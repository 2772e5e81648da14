"""Several feature sets of an image, extracted one after another and stored side by side."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from creditline.data.image_set import ImageSet
from creditline.errors import SettingsError
from creditline.features.extractor import FeatureExtractor
from creditline.gradients.noise_plan import Reduction, Role
from creditline.gradients.noised_batch import Trajectory
from creditline.gradients.projection import Block
from creditline.runtime import Runtime
from creditline.runtime.devices import place


class FeatureSetExtractor(FeatureExtractor):
    """Concatenates the features of several extractors.

    Args:
        extractors: of each set, by name; all under as many models.

    Raises:
        SettingsError: if their numbers of models differ.
    """

    def __init__(self, extractors: Mapping[str, FeatureExtractor]) -> None:
        self.extractors = dict(extractors)
        parts = list(self.extractors.values())
        first = parts[0]
        if any(part.models != first.models for part in parts):
            models = ", ".join(f"{name}: {e.models}" for name, e in self.extractors.items())
            raise SettingsError(
                f"Feature sets of one method are from the same models; got {models} models."
            )
        self.kind = first.kind  # type: ignore[misc]  # the kind of the first set
        self.models = first.models
        self.dim = sum(part.dim for part in parts)
        self.has_halves = all(part.has_halves for part in parts)
        self.bits = tuple(bits for part in parts for bits in part.bits)
        self.has_curvature = any(part.has_curvature for part in parts)
        self.needs_fit = any(part.needs_fit for part in parts)
        self.parameters = max(part.parameters for part in parts)

    @property
    def feature_sets(self) -> Mapping[str, int]:
        return {name: part.dim for name, part in self.extractors.items()}

    @property
    def blocks(self) -> tuple[Block, ...]:
        blocks, start = [], 0
        for name, part in self.extractors.items():
            blocks += [
                replace(block, name=f"{name}: {block.name}", start=start + block.start)
                for block in part.blocks
            ]
            start += part.dim
        return tuple(blocks)

    def to_device(self, device: str) -> Self:
        """Return the extractors with models on a device."""
        other = copy.copy(self)
        other.extractors = {name: place(part, device) for name, part in self.extractors.items()}
        return other

    def fit(
        self, images: ImageSet, runtime: Runtime | None = None, folder: Path | None = None
    ) -> None:
        for part in self.extractors.values():
            if part.needs_fit:
                part.fit(images, runtime, folder)

    def state(self) -> dict[str, np.ndarray]:
        return {
            f"{name}/{key}": array
            for name, part in self.extractors.items()
            for key, array in part.state().items()
        }

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        for name, part in self.extractors.items():
            prefix = f"{name}/"
            own = {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
            if part.needs_fit:
                part.load_state(own)

    def check(self, images: ImageSet) -> None:
        """Refuse images that do not fit one of the extractors."""
        for part in self.extractors.values():
            part.check(images)

    def extract(
        self,
        images: ImageSet,
        indices: Sequence[int],
        role: Role = "train",
        trajectories: Sequence[Trajectory | None] | None = None,
        reduction: Reduction = "mean",
    ) -> np.ndarray:
        """Return the features of all sets side by side; see `FeatureExtractor.extract`."""
        parts = [
            part.extract(images, indices, role, trajectories, reduction)
            for part in self.extractors.values()
        ]
        return np.concatenate(parts, axis=3)

    @contextmanager
    def caching(self, folder: Path) -> Iterator[None]:
        """Keep latents and text embeddings of all extractors in a folder meanwhile."""
        with ExitStack() as stack:
            for part in self.extractors.values():
                stack.enter_context(part.caching(folder))
            yield
