"""Adding images to an index and removing them, without starting over.

An index says that a model was trained on the images in it, and how many they are. After a change
its request is the one that a new build of the very same images would make: with the same command
and all of them, `creditline index` reports that the index is complete; with the images of before it
refuses. The manifest's facts record the change, because the model itself did not change.

A change is atomic. The new version of the table and the results that are fitted to it are written
beside the old ones; then the manifest, which names both, is replaced. A process that is killed
before that leaves the index as it was, and the same call continues.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from creditline import fingerprint
from creditline.curvature.spectrum import Spectrum
from creditline.curvature.update import add_images, remove_images, shift_mean
from creditline.data.image_set import ImageSet, duplicates
from creditline.errors import DataError
from creditline.features.table import FeatureTable
from creditline.indexing import spectra
from creditline.indexing.build import FeatureExtractor, clear, extract
from creditline.indexing.index_state import IndexState
from creditline.indexing.request import images_request
from creditline.indexing.store import Store
from creditline.manifest import Manifest
from creditline.methods.fit_context import HALVES, FitContext
from creditline.methods.score_noise import HalfNoiseFeatures, halves
from creditline.runtime import Runtime
from creditline.settings import require, to_dict

Update = Callable[[Spectrum, FeatureTable, FeatureTable, int, bool], Spectrum | None]
"""From a spectrum, the table before and after, the model and whether the spectrum is centered.

None: the spectrum has to be fitted anew.
"""


def add(state: IndexState, extractor: FeatureExtractor, images: ImageSet, runtime: Runtime) -> None:
    """Append images to an index and update the results that are fitted to it.

    Args:
        state: of the index.
        extractor: that the index was built with.
        images: prepared as its images were.
        runtime: where features are extracted.

    Raises:
        DataError: if they were prepared differently, or have classes of other names.
        CreditlineError: if the extractor refuses them, or the disk is full.
    """
    _require_same_preparation(state.manifest, images)
    extractor.check(images)
    old, n = state.store, state.features.n
    shards = f"adding-{images.fingerprint[:12]}"
    store = Store(old.folder, old.schema, old.opened_version(), shards)
    rows = state.manifest.request["features"]["shard_rows"]
    count = extract(store, extractor, images, runtime, rows, store.next_key())

    def update(
        spectrum: Spectrum, _: FeatureTable, after: FeatureTable, model: int, center: bool
    ) -> Spectrum | None:
        return add_images(spectrum, after, model, n, center, state.memory)

    version = store.append(count)
    _change(state, version, update, ("added", images.ids))
    clear(store)


def remove(state: IndexState, rows: Sequence[int] | np.ndarray, purge: bool = False) -> None:
    """Remove images from an index and update the results that are fitted to it.

    Args:
        state: of the index.
        rows: their positions.
        purge: delete their data from every file of the index.

    Raises:
        SettingsError: if a position does not exist, or no image would remain.
    """
    removals = np.unique(np.asarray(rows, dtype=np.int64))
    n = state.features.n
    require(
        len(removals) > 0 and removals[0] >= 0 and removals[-1] < n,
        f"Rows to remove are from 0 to {n - 1}",
        list(rows)[:8],
        "Give at least one, all of the index.",
    )
    require(
        len(removals) < n,
        f"One of {n} images has to remain",
        len(removals),
        "Delete the folder instead.",
    )

    def update(
        spectrum: Spectrum, before: FeatureTable, _: FeatureTable, model: int, center: bool
    ) -> Spectrum | None:
        return remove_images(spectrum, before, model, removals, center, state.memory)

    ids = state.store.facts()["id"]
    version = state.store.delete(removals, purge)
    store = _change(state, version, update, ("removed", [ids[row] for row in removals]))
    if purge:
        store.clean()


def find_rows(facts: dict[str, list], images: Sequence[int | str]) -> np.ndarray:
    """Positions of images by position, id or name, ascending.

    An id stands for all images with these pixels, duplicates included.

    Args:
        facts: of all rows.
        images: positions, ids or names.

    Raises:
        DataError: if there is no such image, or several have the name.
    """
    by_id: dict[Any, list[int]] = {}
    by_name: dict[Any, list[int]] = {}
    for row, (key, name) in enumerate(zip(facts["id"], facts["name"], strict=True)):
        by_id.setdefault(key, []).append(row)
        by_name.setdefault(name, []).append(row)
    result: list[int] = []
    for item in images:
        if not isinstance(item, str):
            result.append(int(item))
            continue
        rows = by_id.get(item) or by_name.get(item) or []
        if not rows:
            raise DataError(
                f"The index has no image {item!r}. Give names as a trace shows them, ids, or "
                "positions as whole numbers."
            )
        if item not in by_id and len(rows) > 1:
            raise DataError(
                f"{len(rows)} images of the index have the name {item!r}, at {rows[:8]}. Give "
                "the id or the position of the one you mean."
            )
        result += rows
    return np.unique(np.array(result, dtype=np.int64))


def _require_same_preparation(manifest: Manifest, images: ImageSet) -> None:
    held, names = manifest.request["images"], manifest.facts.get("label_names")
    spec = to_dict(images.spec)
    if spec != held["spec"] or list(images.shape) != held["shape"]:
        raise DataError(
            f"The index holds images of shape {tuple(held['shape'])}, prepared by {held['spec']}; "
            f"these have {images.shape} and {spec}. Load them with the same settings."
        )
    if ("masks" in held) != (images.masks is not None):
        present, offered = ("", "without") if "masks" in held else ("no ", "with")
        raise DataError(
            f"The index's images have {present}masks, and these come {offered} them. Load "
            "both the same way (masks=, --masks)."
        )
    theirs = images.label_names
    if theirs is not None and list(theirs) != names:
        raise DataError(
            f"The images' classes are called {', '.join(theirs)}; those of the index "
            f"{', '.join(names) if names else 'have no names'}. Number or name them alike."
        )


def _change(
    state: IndexState, version: int, update: Update, what: tuple[str, Sequence[str]]
) -> Store:
    """Write results for the new version of the table, then the manifest that names it."""
    old, request = state.store, state.manifest.request
    store = Store(old.folder, old.schema, version)
    facts = store.facts()
    request = {**request, "images": images_request(facts, request["images"])}
    verb, ids = what
    change = {
        verb: len(ids),
        "ids": fingerprint.of_json(list(ids)),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    changed_facts = {
        **state.manifest.facts,
        "table_version": version,
        "duplicates": [list(group) for group in duplicates(facts["id"])],
        "changes": [*state.manifest.facts.get("changes", []), change],
    }
    manifest = replace(state.manifest, request=request, facts=changed_facts)
    after = IndexState(state.folder, manifest, state.memory, state.runtime)
    _update_spectra(state, after, update)
    manifest.write(state.folder)
    if after.fits.folder != state.fits.folder:
        shutil.rmtree(state.fits.folder, ignore_errors=True)
    return store


def _update_spectra(before: IndexState, after: IndexState, update: Update) -> None:
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
        spectra.save(folder, *key, complete)
