"""Spectra that are updated after a change of an index, instead of being fitted anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from creditline.curvature.spectrum import Spectrum
from creditline.curvature.update import shift_mean
from creditline.features.table import FeatureTable
from creditline.indexing import spectra
from creditline.indexing.index_state import IndexState
from creditline.methods.fit_context import HALVES, FitContext
from creditline.methods.score_noise import HalfNoiseFeatures, halves

Update = Callable[[Spectrum, FeatureTable, FeatureTable, int, bool], Spectrum | None]
"""From a spectrum, the table before and after, the model and whether the spectrum is centered.

None: the spectrum has to be fitted anew.
"""


def update_spectra(before: IndexState, after: IndexState, update: Update) -> None:
    """Update every stored spectrum; the others are fitted when they are needed.

    Spectra of halves that are not centered are among these, since the mean error has moved.
    """
    old, new = before.context, after.context
    pairs = [(old, new)]
    pairs += [(old.of_set(name), new.of_set(name)) for name in old.feature_sets]
    for one, other in pairs:
        _update_set(before.fits.folder, after.fits.folder, one, other, update)


def _update_set(
    source: Path, target: Path, before: FitContext, after: FitContext, update: Update
) -> None:
    """Update the spectra of one feature set, or of all features."""
    name, old, new = before.feature_set, before.table(), after.table()
    for center in (True, False):
        stored = spectra.load(source, name, center, "")
        if stored is not None:
            _save_updated(target, (name, center, ""), stored, old, new, update)
    if old.errors is None or new.errors is None:
        return
    old_halves, new_halves = halves(old, old.errors), halves(new, new.errors)
    for half, one, other in zip(HALVES, old_halves, new_halves, strict=True):
        stored = spectra.load(source, name, True, half)
        if stored is not None:
            shift = one.sign * (one.common - other.common)
            stored = [shift_mean(spectrum, by) for spectrum, by in zip(stored, shift, strict=True)]
            shifted = HalfNoiseFeatures(old, old.errors, other.common, other.sign)
            _save_updated(target, (name, True, half), stored, shifted, other, update)


def _save_updated(
    folder: Path,
    key: tuple[str, bool, str],
    stored: Sequence[Spectrum],
    before: FeatureTable,
    after: FeatureTable,
    update: Update,
) -> None:
    """Update one stored spectrum per model; `key` is its set, whether it is centered, its half."""
    updated = [update(spectrum, before, after, c, key[1]) for c, spectrum in enumerate(stored)]
    complete = [spectrum for spectrum in updated if spectrum is not None]
    if len(complete) == len(updated):
        # Fitted anew, they would be equal to rounding only, and what was before is deleted.
        spectra.save(folder, *key, complete, durable=True)
