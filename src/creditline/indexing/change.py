"""Adding images to an index and removing them, without starting over.

An index says that a model was trained on the images in it, and how many they are. After a change
its request is the one that a new build of the very same images would make: with the same command
and all of them, `creditline index` reports that the index is complete; with the images of before it
refuses. The manifest's facts record the change, because the model itself did not change.

A change is atomic. The new version of the table and the results that are fitted to it are written
beside the old ones; then the manifest, which names both, is replaced. A process that is killed
before that leaves the index as it was, and the same call continues. After that, the same call finds
nothing to do but what is left of cleaning up. Only one process at a time changes an index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from creditline import fingerprint
from creditline.curvature.spectrum import Spectrum
from creditline.curvature.update import add_images, remove_images
from creditline.data.duplicates import find_duplicates
from creditline.data.image_set import ImageSet
from creditline.data.names import compose
from creditline.errors import DataError, IndexMismatchError
from creditline.features.table import FeatureTable
from creditline.indexing import purging
from creditline.indexing.build import FeatureExtractor, clear, extract
from creditline.indexing.fit_folder import FOLDER
from creditline.indexing.index_state import IndexState
from creditline.indexing.request import images_request
from creditline.indexing.store import Store
from creditline.indexing.table_record import remove_other_records
from creditline.indexing.updated_spectra import Update, update_spectra
from creditline.leftovers import clear_leftovers, discard
from creditline.leftovers import remove as remove_path
from creditline.lock import locked
from creditline.manifest import Manifest
from creditline.notice import notice
from creditline.paths import require_no_way_out
from creditline.runtime import Runtime
from creditline.settings import require, to_dict

ADDING = "adding-"
"""How names of folders begin that declare the shards of an addition."""


def add(state: IndexState, extractor: FeatureExtractor, images: ImageSet, runtime: Runtime) -> None:
    """Append images to an index and update the results that are fitted to it.

    Images that the index has under the same name are left out, with a notice.

    Args:
        state: of the index.
        extractor: that the index was built with.
        images: prepared as its images were.
        runtime: where features are extracted.

    Raises:
        DataError: if they were prepared differently, or have classes of other names.
        LockedError: if another process changes the index.
        IndexMismatchError: if another process has changed it since it was opened.
        CreditlineError: if the extractor refuses them, or the disk is full.
    """
    with changing(state) as (current, _):
        _require_same_preparation(current.manifest, images)
        extractor.check(images)
        old, n = current.store, current.features.n
        new = _without_present(old.facts(), images)
        shards = f"{ADDING}{new.fingerprint[:12]}"
        _drop_additions(current.folder, keep=shards if len(new) else None)
        if not len(new):
            return
        version = old.version
        store = Store(old.folder, old.schema, version.number, version.checksum, shards)
        rows = current.manifest.request["features"]["shard_rows"]
        count = extract(store, extractor, new, runtime, rows, store.next_key())

        def update(
            spectrum: Spectrum, _: FeatureTable, after: FeatureTable, model: int, center: bool
        ) -> Spectrum | None:
            return add_images(spectrum, after, model, n, center, current.memory)

        table = store.append(count)
        _change(current, table, update, ("added", new.ids))
        clear(store)


def remove(state: IndexState, images: Sequence[int | str], purge: bool = False) -> None:
    """Remove images from an index and update the results that are fitted to it.

    Args:
        state: of the index.
        images: positions, ids or names; see `find_rows`.
        purge: delete their data from every file of the index.

    Raises:
        DataError: if an image is not there, or several have the name.
        SettingsError: if a position does not exist, or no image would remain.
        LockedError: if another process changes the index.
        IndexMismatchError: if another process has changed it since it was opened.
    """
    with changing(state) as (current, purged):
        facts = current.store.facts()
        present = {*facts["id"], *facts["name"]}
        items = [x for x in images if x in present or purging.key(x) not in purged]
        if purged and images and not items:
            return  # the same call as the one that was killed
        removals = find_rows(facts, items)
        n = current.features.n
        require(
            len(removals) > 0 and removals[0] >= 0 and removals[-1] < n,
            f"Rows to remove are from 0 to {n - 1}",
            list(images)[:8],
            "Give at least one, all of the index.",
        )
        require(
            len(removals) < n,
            f"One of {n} images has to remain",
            len(removals),
            "Delete the folder instead.",
        )
        _drop_additions(current.folder)

        def update(
            spectrum: Spectrum, before: FeatureTable, _: FeatureTable, model: int, center: bool
        ) -> Spectrum | None:
            return remove_images(spectrum, before, model, removals, center, current.memory)

        ids, names = ([facts[key][row] for row in removals] for key in ("id", "name"))
        table = current.store.delete(removals, purge)
        pending = [*ids, *names] if purge else []
        after = _change(current, table, update, ("removed", ids), pending)
        purging.finish(after)


@contextmanager
def changing(state: IndexState) -> Iterator[tuple[IndexState, set[str]]]:
    """Be the only one who changes an index, which must still be as it was opened.

    Yields:
        The index as it is now, without what killed processes left behind; and the images whose
        purge was interrupted, which is finished now; see `purging.key`.

    Raises:
        LockedError, AccessError: see `locked`.
        IndexMismatchError: if another process has changed it since.
    """
    with locked(state.folder):
        current = IndexState.read(state.folder, state.memory, state.runtime)
        if current.contents != state.contents:
            raise IndexMismatchError(
                f"{state.folder} was changed by another process since it was opened. Open it "
                "again, and repeat the change if it is still needed; nothing was changed."
            )
        require_no_way_out(state.folder)
        clear_leftovers(state.folder)
        _drop_old_results(current)
        pending = set(current.manifest.facts.get(purging.PENDING, ()))
        if pending:
            notice(f"A purge of {state.folder} was interrupted; it is finished now.")
        yield purging.finish(current), pending


def _without_present(facts: dict[str, list], images: ImageSet) -> ImageSet:
    """The images that an index does not have under the same name."""
    present = set(zip(facts["id"], facts["name"], strict=True))
    keys = list(zip(images.ids, images.names, strict=True))
    rows = [row for row, key in enumerate(keys) if key not in present]
    if len(rows) < len(keys):
        notice(
            f"{len(keys) - len(rows):,} of {len(keys):,} images are in the index already, with the "
            "same pixels and name, and are left out."
        )
    return images if len(rows) == len(keys) else images.subset(rows)


def _drop_additions(folder: Path, keep: str | None = None) -> None:
    """Drop what killed additions had extracted, which belongs to the table as it was then."""
    for path in folder.glob(f"{ADDING}*"):
        if path.name != keep:
            remove_path(path)


def _drop_old_results(state: IndexState) -> None:
    """Delete results of fitting to other contents than those of now."""
    for path in (state.folder / FOLDER).glob("*"):
        if path.name != state.fit_name:
            discard(path)  # readers of the former images may be writing there


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
        by_name.setdefault(compose(name), []).append(row)
    result: list[int] = []
    for item in images:
        if not isinstance(item, str):
            result.append(int(item))
            continue
        rows = by_id.get(item) or by_name.get(compose(item)) or []
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
    if ("captions" in held) != (images.captions is not None):
        all_of, one_of = "all captions of each image", "one caption of each"
        stored, offered = (all_of, one_of) if "captions" in held else (one_of, all_of)
        raise DataError(
            f"The index was built from {stored}, and these images come with {offered}. Load both "
            "the same way (captions=, --captions)."
        )
    theirs = images.label_names
    if theirs is not None and list(theirs) != names:
        raise DataError(
            f"The images' classes are called {', '.join(theirs)}; those of the index "
            f"{', '.join(names) if names else 'have no names'}. Number or name them alike."
        )


def _change(
    state: IndexState,
    table: Mapping[str, Any],
    update: Update,
    what: tuple[str, Sequence[str]],
    purge: Sequence[str] = (),
) -> IndexState:
    """Write results for the new version of the table, then the manifest that names it.

    Args:
        state: before the change.
        table: facts of the new version, as `Store.commit` returns them.
        update: brings a spectrum up to date.
        what: `"added"` or `"removed"`, and ids.
        purge: images whose data is to be deleted afterwards.
    """
    old, request = state.store, state.manifest.request
    store = Store(old.folder, old.schema, table["table_version"], table["table_checksum"])
    facts = store.facts()
    request = {**request, "images": images_request(facts, request["images"], store.version.path)}
    verb, ids = what
    change = {
        verb: len(ids),
        "ids": fingerprint.of_json(list(ids)),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    changed_facts = {
        **state.manifest.facts,
        **table,
        "duplicates": [list(group) for group in find_duplicates(facts["id"])],
        "changes": [*state.manifest.facts.get("changes", []), change],
        **({purging.PENDING: [purging.key(item) for item in purge]} if purge else {}),
    }
    manifest = replace(state.manifest, request=request, facts=changed_facts)
    after = IndexState(state.folder, manifest, state.memory, state.runtime)
    update_spectra(state, after, update)
    manifest.write(state.folder)
    remove_other_records(state.folder, [old.opened_version(), table["table_version"]])
    _drop_old_results(after)
    return after
