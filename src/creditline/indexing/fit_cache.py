"""What is learned from an index once and kept beside it.

Each content of the index has a folder of its own, so that no result outlives the images that it was
made of: after images are added or removed, results are brought up to date under another name or
computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

import numpy as np

from creditline import fingerprint, methods
from creditline.curvature.spectrum import Spectrum
from creditline.errors import DamageError
from creditline.features.table import FeatureTable, take_rows
from creditline.indexing import factor_cache, nearest, sign_codes, spectra
from creditline.indexing.coded_rows import CodedRows
from creditline.indexing.factor_cache import FactorCache
from creditline.indexing.fit_folder import stand_in
from creditline.indexing.nearest import Nearest
from creditline.indexing.product_codes import ProductCodes
from creditline.indexing.sign_codes import SignCodes
from creditline.indexing.sum_codes import SumCodes
from creditline.indexing.vector_codes import VectorCodes
from creditline.leftovers import discard
from creditline.methods.attributor import Attributor
from creditline.methods.bilinear import BilinearAttributor
from creditline.methods.fit_context import FitCache, FitContext, NoCache
from creditline.methods.score_noise import HalfNoiseFeatures
from creditline.methods.spread_sum import SpreadSum
from creditline.notice import notice
from creditline.settings import affecting
from creditline.stored_arrays import read_array, write_array

Halves = tuple[HalfNoiseFeatures, HalfNoiseFeatures]


class StoredFitCache(FitCache):
    """Fitted methods, spectra, factors and numbers per image, for every method that asks.

    Fitted methods are values: one for each method, its settings and context, and never changed by
    another fit.

    Args:
        folder: where results are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._has_left = False
        self._fits: dict[tuple[str, bool], Attributor] = {}
        self._spectra: dict[tuple[str, bool, str], Sequence[Spectrum]] = {}
        self._halves: tuple[FeatureTable, Halves] | None = None
        self._factors: dict[str, FactorCache] = {}

    def leave(self) -> None:
        """Keep further results for this process alone, once the index is of other images."""
        if not self._has_left:
            self._has_left, old = True, self.folder
            self.folder = stand_in(old)
            self._factors.clear()
            self._fits.clear()
            with suppress(OSError):
                discard(old)

    def fit(self, method: Attributor, context: FitContext) -> Attributor:
        """A copy of a method that is fitted to a context of this index."""
        settings = repr(method), context.stored_factors
        if settings not in self._fits:
            self._fits[settings] = method.unfitted().fit(context)
        return self._fits[settings]

    def array(self, name: str, method: Attributor, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """An array that is computed once for each method and its settings, then read."""
        path = self.folder / f"{name}-{method_key(method)}.npy"
        if path.is_file():
            try:
                return read_array(path, "It is computed again.")
            except DamageError as error:
                notice(str(error))
        values = compute()
        write_array(path, values, durable=False)
        return values

    def work_folder(self, name: str) -> Path:
        """A folder for the files of long work, which continues there."""
        return self.folder / name

    def spectra(self, context: FitContext, center: bool) -> Sequence[Spectrum]:
        """One spectrum for each model of the context's features."""
        key = context.feature_set, center, context.half
        if key not in self._spectra:
            self._spectra[key] = spectra.load_or_fit(
                self.folder, context.table(), *key, context.memory, context.runtime
            )
        return self._spectra[key]

    def halves(self, features: FeatureTable) -> Halves:
        """The features of each half of the noise."""
        if self._halves is None or self._halves[0] is not features:
            self._halves = features, NoCache().halves(features)
        return self._halves[1]

    def factors(self, method: Attributor) -> FactorCache:
        """The train-side factors of a fitted bilinear method, written if they are not stored."""
        half = method.context_.half
        name = f"factors-{half and half + '-'}{method_key(method)}"
        if name not in self._factors:
            self._factors[name] = factor_cache.load_or_write(
                self.folder / name, cast(BilinearAttributor, method)
            )
        return self._factors[name]

    def has_factors(self, method: Attributor) -> bool:
        """Whether the train-side factors of a method are stored."""
        return (self.folder / f"factors-{method_key(method)}").is_dir()

    def nearest(self, method: Attributor) -> Nearest:
        """The approximate search over a fitted method's training images.

        Raises:
            SettingsError: if there are few images, or their codes have no such search.
        """
        fit = cast(BilinearAttributor, method)
        table = fit.features_
        nearest.require_rows(table.n)

        def sample() -> np.ndarray:
            rows = np.unique(np.linspace(0, table.n - 1, nearest.SAMPLE).astype(np.int64))
            query = [take_rows(table, c, rows) for c in range(table.models)]
            return np.stack(query, axis=1)

        folder = self.folder / f"nearest-{method_key(method)}"
        return nearest.load_or_build(folder, self._codes(fit), sample)

    def _codes(self, method: BilinearAttributor) -> VectorCodes:
        """What an approximate search of a fitted method looks at."""
        if method.stores_factors:
            return ProductCodes(self.factors(method), method)
        terms = method.search_terms()
        if not terms:
            return SignCodes(CodedRows(method))
        for term in terms:
            if not term.stores_factors:
                CodedRows(term)  # refuses before the codes of another term are built
        each = [self._searched(term) for term in terms]
        return SumCodes(cast(SpreadSum, method), each)

    def _searched(self, term: BilinearAttributor) -> FactorCache | CodedRows | SignCodes:
        """What a term of a sum is scored from in an approximate search."""
        if term.stores_factors:
            return self.factors(term)
        if term.features_.dim <= sign_codes.SIGNS:
            return CodedRows(term)
        return cast(SignCodes, self.nearest(term).codes)


def method_key(method: Attributor) -> str:
    """Twelve characters for a method and the settings that its factors depend on."""
    settings = affecting(method, "features", "factors")
    return fingerprint.of_json({"name": methods.reference(method), **settings})[:12]
