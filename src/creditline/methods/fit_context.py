"""What a method learns from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from creditline.curvature.kernel import MEMORY
from creditline.curvature.spectrum import Spectrum
from creditline.errors import SettingsError
from creditline.features.table import ArrayFeatures, FeatureTable
from creditline.gradients.projection import Block
from creditline.leftovers import scratch_folder
from creditline.methods.score_noise import HalfNoiseFeatures, halves
from creditline.methods.subset_losses import SubsetLosses
from creditline.runtime import Runtime

if TYPE_CHECKING:
    from creditline.data.image_set import ImageSet
    from creditline.diffusion.denoiser import Denoiser

HALVES = ("first-half", "second-half")


@runtime_checkable
class FeatureSets(FeatureTable, Protocol):
    """A table that stores each of several feature sets by itself."""

    def of_set(self, name: str) -> FeatureTable:
        """The features of one set."""


class TrainFactors(Protocol):
    """The train-side factors of all training images, stored where they are quick to read."""

    def scores(self, factors: np.ndarray) -> np.ndarray:
        """Scores `(m, n)` of queries by their weighted factors `(m, C, k)`."""


class FitCache(Protocol):
    """Results of fitting that outlive one fit; `method` is always an `Attributor`."""

    def array(self, name: str, method: Any, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """An array that is computed once for a method and its settings."""

    def work_folder(self, name: str) -> Path:
        """A folder for the files of long work, which continues there."""

    def spectra(self, context: FitContext, center: bool) -> Sequence[Spectrum]:
        """One spectrum for each model of the context's features."""

    def halves(self, features: FeatureTable) -> tuple[HalfNoiseFeatures, HalfNoiseFeatures]:
        """The features of each half of the noise."""

    def factors(self, method: Any) -> TrainFactors | None:
        """Stored train-side factors of a fitted method; None where they are not stored."""


class NoCache:
    """A cache that computes everything when it is asked for."""

    _scratch: TemporaryDirectory[str] | None = None

    def array(self, name: str, method: Any, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """See `FitCache`."""
        return compute()

    def work_folder(self, name: str) -> Path:
        """See `FitCache`; it lasts as long as the cache."""
        if self._scratch is None:
            self._scratch = scratch_folder()
        return Path(self._scratch.name) / name

    def spectra(self, context: FitContext, center: bool) -> Sequence[Spectrum]:
        """See `FitCache`."""
        table = context.table()
        return [Spectrum.fit(table, c, center, memory=context.memory) for c in range(table.models)]

    def halves(self, features: FeatureTable) -> tuple[HalfNoiseFeatures, HalfNoiseFeatures]:
        """See `FitCache`."""
        if features.errors is None:
            raise SettingsError(
                "The error of a score needs training features with the two halves of their noise; "
                "these have none. Build the index from two or more evaluations of an image "
                "(timesteps x draws), without --no-halves."
            )
        return halves(features, features.errors)

    def factors(self, method: Any) -> TrainFactors | None:
        """See `FitCache`."""
        return None


@dataclass(frozen=True)
class FitContext:
    """Everything that `Attributor.fit` may learn from; each kind of method reads its own part.

    Attributes:
        features: feature table of the training images, or an array of shape `(n, k)` or
            `(n, C, k)` for `C` models. A row of several named feature sets holds them side by
            side.
        feature_sets: size of each named feature set, in order.
        feature_set: which of the sets the features are, where they are one of several.
        blocks: dimensions of each layer within a row; empty where they are not known.
        models: the models under which images are attributed.
        images: the training images.
        subsets: losses of retrained models.
        memory: bytes that fitting may take.
        runtime: where work runs, and what receives its progress.
        half: which half of the noise the features are of; empty for both.
        cache: keeps results of fitting.
        stored_factors: whether scores are computed from stored train-side factors.
    """

    features: Any = None
    feature_sets: Mapping[str, int] = field(default_factory=dict)
    feature_set: str = ""
    blocks: Sequence[Block] = ()
    models: Sequence[Denoiser] = ()
    images: ImageSet | None = None
    subsets: SubsetLosses | None = None
    memory: int = MEMORY
    runtime: Runtime = field(default_factory=Runtime)
    half: str = ""
    cache: FitCache = field(default_factory=NoCache)
    stored_factors: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.features, np.ndarray):
            object.__setattr__(self, "features", ArrayFeatures(self.features))

    def table(self) -> FeatureTable:
        """The feature table.

        Raises:
            SettingsError: if there is none.
        """
        if self.features is None:
            raise SettingsError(
                "A bilinear method is fitted on features of the training images and the context "
                "has none. Give FitContext(features=...)."
            )
        return self.features

    def of_set(self, name: str) -> FitContext:
        """The context of one named feature set.

        Raises:
            SettingsError: if there is no such set.
        """
        if name not in self.feature_sets:
            raise SettingsError(
                f"There is no feature set {name!r}; known: {', '.join(self.feature_sets)}. "
                "Name it in the method's feature_sets."
            )
        sizes = list(self.feature_sets.values())
        start = sum(sizes[: list(self.feature_sets).index(name)])
        columns = slice(start, start + self.feature_sets[name])

        def select(table: FeatureTable) -> FeatureTable:
            if isinstance(table, FeatureSets):
                return table.of_set(name)
            return FeatureSlice(table, columns)

        table = self.table()
        if isinstance(table, HalfNoiseFeatures):
            part: FeatureTable = table.of_columns(select, columns)
        else:
            part = select(table)
        blocks = [
            replace(block, start=block.start - start)
            for block in self.blocks
            if start <= block.start < columns.stop
        ]
        return replace(self, features=part, feature_sets={}, feature_set=name, blocks=blocks)

    def of_halves(self) -> tuple[FitContext, FitContext]:
        """The context of each half of the noise.

        Raises:
            SettingsError: if the features come without errors.
        """
        first, second = self.cache.halves(self.table())
        return (
            replace(self, features=first, half=HALVES[0]),
            replace(self, features=second, half=HALVES[1]),
        )


class FeatureSlice:
    """Some columns of a feature table, as a table.

    Args:
        table: all columns.
        columns: which of them.
    """

    def __init__(self, table: FeatureTable, columns: slice) -> None:
        self.n, self.models = table.n, table.models
        self.dim = columns.stop - columns.start
        self.learning_rates = table.learning_rates
        errors = table.errors
        self.errors: FeatureTable | None = None if errors is None else FeatureSlice(errors, columns)
        self._table, self._columns = table, columns

    def chunks(self, model: int) -> Any:
        """Rows of one model, chunk by chunk; see `FeatureTable`."""
        for start, rows in self._table.chunks(model):
            yield start, rows[:, self._columns]
