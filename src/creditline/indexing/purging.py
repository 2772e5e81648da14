"""Purging: deleting the data of removed images from every file of an index.

The manifest says that a purge is pending, from the moment when the images are removed until nothing
of them is left. So a purge that was interrupted is finished by the next change.
"""

from __future__ import annotations

from dataclasses import replace

from creditline import fingerprint
from creditline.files import flush_names
from creditline.indexing.build import TEMPORARY
from creditline.indexing.index_state import IndexState
from creditline.leftovers import remove

PENDING = "purge"
"""Name of the fact in the manifest: keys of the images, since their names are to disappear too."""


def key(image: int | str) -> str:
    """Return what stands for an image, by its id or name, until its purge is finished."""
    return fingerprint.of_json(str(image) if isinstance(image, str) else int(image))


def finish(state: IndexState) -> IndexState:
    """Finish the pending purge of an index that is locked, if there is one.

    Returns:
        The index without it.
    """
    if PENDING not in state.manifest.facts:
        return state
    state.store.clean()
    for name in TEMPORARY:
        remove(state.folder / name)
    flush_names(state.folder)  # before the manifest says that nothing is left
    facts = {name: value for name, value in state.manifest.facts.items() if name != PENDING}
    manifest = replace(state.manifest, facts=facts)
    manifest.write(state.folder)
    return IndexState(state.folder, manifest, state.memory, state.runtime)
