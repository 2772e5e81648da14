"""The interface of every feature extractor: what an index calls, whatever the features are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from creditline.gradients.noise_plan import Reduction, Role

if TYPE_CHECKING:
    import numpy as np

    from creditline.data.image_set import ImageSet
    from creditline.gradients.noised_batch import Trajectory
    from creditline.gradients.projection import Block
    from creditline.runtime import Runtime


class FeatureExtractor(ABC):
    """Turns images into features.

    An extractor that depends on the training images is fitted once per index. Its state is stored
    beside the features and loaded before queries are extracted.

    Class attributes:
        kind: name of the kind of features, as in the manifest.

    Attributes:
        dim: feature dimension k.
        models: number of models C.
        has_halves: whether features come with a split-half estimate of their noise.
        bits: of each stored number, for each feature set; 16 are half precision.
        has_curvature: whether the curvature of a preconditioner is part of the fit.
        needs_fit: whether `fit` or `load_state` must come before `extract`.
        parameters: number of model parameters that the features are computed from.
    """

    kind: ClassVar[str]
    dim: int
    models: int = 1
    has_halves: bool = False
    bits: tuple[int, ...] = (16,)
    has_curvature: bool = False
    needs_fit: bool = False
    parameters: int = 0

    @property
    def reduction(self) -> Reduction:
        """What an index of training images asks `extract` for."""
        return "halves" if self.has_halves else "mean"

    @property
    def feature_sets(self) -> Mapping[str, int]:
        """Size of each feature set, where a feature consists of several; else empty."""
        return {}

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Layout of a feature by layer, known after the fit; empty where there are no layers."""
        return ()

    def fit(  # noqa: B027 (most extractors have nothing to fit)
        self, images: ImageSet, runtime: Runtime | None = None, folder: Path | None = None
    ) -> None:
        """Learn from the training images what `extract` depends on.

        Args:
            images: all training images.
            runtime: where work runs, and what shows progress.
            folder: holds results of long fits, from which an interrupted one continues.
        """

    def state(self) -> dict[str, np.ndarray]:
        """Return everything that `fit` learned, as arrays by name."""
        return {}

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:  # noqa: B027 (as `fit`)
        """Restore what `state` returned.

        Args:
            arrays: by name.
        """

    @abstractmethod
    def check(self, images: ImageSet) -> None:
        """Raise before long work if the images do not fit the extractor.

        Raises:
            CreditlineError: if they do not.
        """

    @abstractmethod
    def extract(
        self,
        images: ImageSet,
        indices: Sequence[int],
        role: Role = "train",
        trajectories: Sequence[Trajectory | None] | None = None,
        reduction: Reduction = "mean",
    ) -> np.ndarray:
        """Compute features of some images.

        Args:
            images: the image set.
            indices: positions in it.
            role: training images or queries; decides noise plan and noise.
            trajectories: sampling trajectory of each image, for a `trajectory` noise plan.
            reduction: `"mean"` returns one feature per image; `"timesteps"` one per timestep;
                `"halves"` two, the feature and a sample of its noise.

        Returns:
            Features, float32 of shape `(b, units, C, k)`; `units` is 1, `t` or 2.
        """

    def caching(self, folder: Path) -> AbstractContextManager[None]:
        """Keep what extraction computes repeatedly, such as latents, in a folder meanwhile.

        Args:
            folder: the cache; several extractors may share it.

        Raises:
            IndexMismatchError: if it holds what another model made.
        """
        return nullcontext()
