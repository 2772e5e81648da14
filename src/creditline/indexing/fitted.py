"""What is learned from an index's features once and kept beside them.

A folder of its own for each content of the index, so that nothing outlives the images it was made
of: after images came or went, all of it is found again under another name or made anew.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np

from creditline import fingerprint
from creditline.curvature.kernel import MEMORY
from creditline.curvature.spectrum import Spectrum
from creditline.features.table import FeatureTable, take_rows
from creditline.files import write_file
from creditline.indexing import nearest, rows, spectra
from creditline.indexing.nearest import Nearest
from creditline.indexing.rows import FactorCache
from creditline.indexing.sources import described
from creditline.methods.base import Method, RidgeMethod
from creditline.methods.noise import HalfNoiseFeatures
from creditline.runtime import Runtime

FOLDER = "fitted"
HALVES = ("first-half", "second-half")
# Settings on which no score of one image for another depends, once the query's feature is there.
INDIFFERENT = ("score_shape", "query_draws", "per_timestep")


class FitCache:
    """Spectra, preconditioned features and numbers per image, for every method that asks.

    Args:
        folder: where they are kept.
        features: that methods are fitted on.
        memory: bytes that fitting may take.
        runtime: hears of its progress.
    """

    def __init__(
        self,
        folder: Path,
        features: FeatureTable,
        memory: int = MEMORY,
        runtime: Runtime | None = None,
    ) -> None:
        self.folder, self.features, self.memory = folder, features, memory
        self.runtime = runtime or Runtime()
        self._spectra: dict[tuple[bool, str], list[Spectrum]] = {}
        self._halves: tuple[HalfNoiseFeatures, HalfNoiseFeatures] | None = None
        self._quick: dict[str, Method] = {}

    def fit(self, method: Method) -> None:
        """Fit a method, unless it is."""
        if not hasattr(method, "features_"):
            self._fit_on(method, self.features)

    def fit_halves(self, method: Method) -> None:
        """Fit a fitted method on each half of the noise, unless it is."""
        if hasattr(method, "halves_"):
            return
        plain = copy.copy(method)
        plain.rows_ = None
        self._halves = self._halves or plain.half_features()
        tables = zip(HALVES, self._halves, strict=True)
        plain.halves_ = tuple(
            self._fit_on(method.unfitted(), table, part) for part, table in tables
        )
        method.error_scale_ = self._kept("error-scale", method, plain.error_scale)
        method.halves_ = plain.halves_
        if method.rows_ is not None:
            method.halves_ = tuple(map(self._with_rows, plain.halves_, HALVES))

    def self_influence(self, method: Method) -> np.ndarray:
        """Score of every training image for itself, float64 of shape `(n,)`."""

        def compute() -> np.ndarray:
            self.fit(method)
            return method.self_influence()

        return self._kept("self-influence", method, compute)

    def quick(self, method: Method) -> Method:
        """A copy of a method that scores by preconditioned features, made if they are not there.

        So do its halves, once they are fitted.
        """
        settings = repr(method)
        if settings not in self._quick:
            quick = self._with_rows(method, "")
            quick.__dict__.pop("halves_", None)
            self._quick[settings] = quick
        return self._quick[settings]

    def rows(self, method: Method, part: str = "") -> FactorCache:
        """The preconditioned features of a method, or of one fitted on a half of the noise."""
        self.fit(method)
        name = f"rows-{part and part + '-'}{key(method)}"
        return rows.make(self.folder / name, method, self.memory, self.runtime)

    def nearest(self, method: Method) -> Nearest:
        """The approximate search over a method's preconditioned features."""

        def sample() -> np.ndarray:
            table = self.features
            some = np.unique(np.linspace(0, table.n - 1, nearest.SAMPLE).astype(np.int64))
            query = [take_rows(table, c, some) for c in range(table.models)]
            return method.query_sides(np.stack(query, axis=1))

        folder = self.folder / f"nearest-{key(method)}"
        return nearest.make(folder, self.rows(method), sample)

    def _with_rows(self, method: Method, part: str) -> Method:
        kept = self.rows(method, part)
        quick = copy.copy(method)
        quick.rows_ = kept
        return quick

    def _fit_on(self, method: Method, features: FeatureTable, part: str = "") -> Method:
        if not isinstance(method, RidgeMethod):
            return method.fit(features)
        center = method.ridge.center
        if (center, part) not in self._spectra:
            found = spectra.fitted(self.folder, features, center, part, self.memory, self.runtime)
            self._spectra[center, part] = found
        return method.fit(features, self._spectra[center, part])

    def _kept(self, what: str, method: Method, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """What is computed once for each method and setting, then read."""
        path = self.folder / f"{what}-{key(method)}.npy"
        if not path.is_file():
            values = compute()
            write_file(path, lambda aside: np.save(aside, values), overwrite=True)
        return np.load(path)


def key(method: Method) -> str:
    """Twelve characters for a method and the settings that its scores depend on."""
    settings = {k: v for k, v in described(method).items() if k not in INDIFFERENT}
    return fingerprint.of_json({"name": method.name, **settings})[:12]
