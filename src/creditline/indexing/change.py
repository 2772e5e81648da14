"""Images that come to an index or leave it, without starting over.

An index says that a model was trained on the images in it, and how many they are. After a change
its request is the one that a new build of the very same images would make: with the same command
and all of them, `creditline index` finds it complete; with the images of before it refuses. That
there was a change is noted in the manifest's facts, for the model itself has not changed.

The order of steps makes it one: the new version of the table and what is fitted to it are
written beside the old ones, then the manifest, which names both, is replaced. Killed before that,
nothing has happened; the same call continues.
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
from creditline.curvature.update import added, moved, removed
from creditline.data.image_set import ImageSet, duplicates
from creditline.errors import DataError
from creditline.features.table import FeatureTable
from creditline.indexing import spectra
from creditline.indexing.build import FeatureExtractor, clear, extract
from creditline.indexing.fitted import HALVES
from creditline.indexing.sources import images_of
from creditline.indexing.state import IndexState
from creditline.indexing.store import Store
from creditline.manifest import Manifest
from creditline.methods.noise import HalfNoiseFeatures, halves
from creditline.runtime import Runtime
from creditline.settings import require, to_dict

Update = Callable[[Spectrum, FeatureTable, FeatureTable, int, bool], Spectrum | None]
"""From a spectrum, the table before and after, the model and whether it is centered; None: fit."""


def add(state: IndexState, source: FeatureExtractor, images: ImageSet, runtime: Runtime) -> None:
    """Append images to an index and update what is fitted to it.

    Args:
        state: of the index.
        source: that it was built with.
        images: prepared as its images were.
        runtime: where and how it is done.

    Raises:
        DataError: if they were prepared otherwise, or have classes of other names.
        CreditlineError: if the source refuses them, or the disk is full.
    """
    _require_alike(state.manifest, images)
    source.check(images)
    old, n = state.store, state.features.n
    shards = f"adding-{images.fingerprint[:12]}"
    store = Store(
        *(old.folder, old.models, old.dim, old.halves),
        version=old.opened_version(),
        masked=old.masked,
        shards=shards,
    )
    rows = state.manifest.request["features"]["shard_rows"]
    count = extract(store, source, images, runtime, rows, store.next_key())

    def update(
        spectrum: Spectrum, _: FeatureTable, after: FeatureTable, model: int, center: bool
    ) -> Spectrum | None:
        return added(spectrum, after, model, n, center, state.memory)

    version = store.append(count)
    _change(state, version, update, ("added", images.ids))
    clear(store)


def remove(state: IndexState, rows: Sequence[int] | np.ndarray, purge: bool = False) -> None:
    """Take images out of an index and update what is fitted to it.

    Args:
        state: of the index.
        rows: their positions.
        purge: leave nothing of them in any file of the index.

    Raises:
        SettingsError: if a position does not exist, or no image would be left.
    """
    gone = np.unique(np.asarray(rows, dtype=np.int64))
    n = state.features.n
    require(
        len(gone) > 0 and gone[0] >= 0 and gone[-1] < n,
        f"Rows to remove are from 0 to {n - 1}",
        list(rows)[:8],
        "Give at least one, all of the index.",
    )
    require(
        len(gone) < n, f"One of {n} images has to stay", len(gone), "Delete the folder instead."
    )

    def update(
        spectrum: Spectrum, before: FeatureTable, _: FeatureTable, model: int, center: bool
    ) -> Spectrum | None:
        return removed(spectrum, before, model, gone, center, state.memory)

    ids = state.store.facts()["id"]
    version = state.store.delete(gone, purge)
    store = _change(state, version, update, ("removed", [ids[row] for row in gone]))
    if purge:
        store.clean()


def rows_of(facts: dict[str, list], wanted: Sequence[int | str]) -> np.ndarray:
    """Positions of images by position, id or name, ascending.

    An id stands for all images with these pixels, as duplicates are one picture.

    Args:
        facts: of all rows.
        wanted: what to look for.

    Raises:
        DataError: if there is no such image, or several have the name.
    """
    by_id: dict[Any, list[int]] = {}
    by_name: dict[Any, list[int]] = {}
    for row, (key, name) in enumerate(zip(facts["id"], facts["name"], strict=True)):
        by_id.setdefault(key, []).append(row)
        by_name.setdefault(name, []).append(row)
    found: list[int] = []
    for item in wanted:
        if not isinstance(item, str):
            found.append(int(item))
            continue
        rows = by_id.get(item) or by_name.get(item) or []
        if not rows:
            raise DataError(
                f"The index has no image {item!r}. Give names as a trace shows them, ids, or "
                "positions as whole numbers."
            )
        if item not in by_id and len(rows) > 1:
            raise DataError(
                f"{len(rows)} images of the index are called {item!r}, at {rows[:8]}. Give the id "
                "or the position of the one you mean."
            )
        found += rows
    return np.unique(np.array(found, dtype=np.int64))


def _require_alike(manifest: Manifest, images: ImageSet) -> None:
    held, names = manifest.request["images"], manifest.facts.get("label_names")
    spec = to_dict(images.spec)
    if spec != held["spec"] or list(images.shape) != held["shape"]:
        raise DataError(
            f"The index holds images of shape {tuple(held['shape'])}, prepared by {held['spec']}; "
            f"these have {images.shape} and {spec}. Load them with the same settings."
        )
    if ("masks" in held) != (images.masks is not None):
        have, come = ("", "without") if "masks" in held else ("no ", "with")
        raise DataError(
            f"The index's images have {have}masks, and these come {come} them. Load them alike "
            "(masks=, --masks)."
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
    """Write what is fitted to the new version of the table, then the manifest that names it."""
    old, request = state.store, state.manifest.request
    store = Store(old.folder, old.models, old.dim, old.halves, version, old.masked)
    facts = store.facts()
    request = {**request, "images": images_of(facts, request["images"])}
    verb, ids = what
    change = {
        verb: len(ids),
        "ids": fingerprint.of_json(list(ids)),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    noted = {
        **state.manifest.facts,
        "table_version": version,
        "duplicates": [list(group) for group in duplicates(facts["id"])],
        "changes": [*state.manifest.facts.get("changes", []), change],
    }
    manifest = replace(state.manifest, request=request, facts=noted)
    after = IndexState(state.folder, manifest, state.memory, state.runtime)
    _update_spectra(state, after, update)
    manifest.write(state.folder)
    if after.fitted.folder != state.fitted.folder:
        shutil.rmtree(state.fitted.folder, ignore_errors=True)
    return store


def _update_spectra(before: IndexState, after: IndexState, update: Update) -> None:
    """Bring every spectrum that is there up to date; the rest is fitted when it is asked for.

    So are spectra of halves that are not centered, since what the halves have in common has moved.
    """
    old, new = before.features, after.features
    for center in (True, False):
        found = spectra.load(before.fitted.folder, center)
        if found is not None:
            _save_updated(after.fitted.folder, center, "", found, old, new, update)
    if old.errors is None or new.errors is None:
        return
    whence, frames = halves(old, old.errors), halves(new, new.errors)
    for part, was, frame in zip(HALVES, whence, frames, strict=True):
        found = spectra.load(before.fitted.folder, True, part)
        if found is not None:
            shift = was.sign * (was.common - frame.common)
            found = [moved(spectrum, by) for spectrum, by in zip(found, shift, strict=True)]
            there = HalfNoiseFeatures(old, old.errors, frame.common, frame.sign)
            _save_updated(after.fitted.folder, True, part, found, there, frame, update)


def _save_updated(
    folder: Path,
    center: bool,
    part: str,
    found: Sequence[Spectrum],
    before: FeatureTable,
    after: FeatureTable,
    update: Update,
) -> None:
    changed = [update(spectrum, before, after, c, center) for c, spectrum in enumerate(found)]
    kept = [spectrum for spectrum in changed if spectrum is not None]
    if len(kept) == len(changed):
        spectra.save(folder, center, part, kept)
