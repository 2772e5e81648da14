"""The training images of an index, loaded again for methods that need them at query time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from creditline.data.captions import read_captions
from creditline.data.image_set import ImageSet
from creditline.data.image_spec import ImageSpec
from creditline.data.load import load_images
from creditline.errors import IndexMismatchError, SettingsError
from creditline.manifest import Manifest
from creditline.settings import from_dict


def load_training_images(
    manifest: Manifest, facts: Mapping[str, list], source: Any = None
) -> ImageSet:
    """The images of an index, in its order, with the captions and labels that it recorded.

    Args:
        manifest: of the index.
        facts: of all its rows; see `Store.facts`.
        source: where the images are now, as `load_images` takes or returns; by default where they
            were when the index was built.

    Raises:
        SettingsError: if they were in memory then, and are not given.
        IndexMismatchError: if they are not the images of the index.
    """
    request, place = manifest.request["images"], manifest.facts["data_source"]
    if source is None and place == "memory":
        raise SettingsError(
            "This index was built from images in memory, and its method needs them when a query "
            "comes. Pass them again: creditline.open_index(path, images=...), or "
            "--training-images DATA."
        )
    source = place if source is None else source
    spec = from_dict(ImageSpec, request["spec"])
    loaded = source if isinstance(source, ImageSet) else load_images(source, spec)
    rows = {key: row for row, key in enumerate(loaded.ids)}
    missing = [
        name for key, name in zip(facts["id"], facts["name"], strict=True) if key not in rows
    ]
    if missing:
        raise IndexMismatchError(
            f"{len(missing)} of {len(facts['id'])} training images of the index are not in "
            f"{loaded.source} with the same pixels, first {missing[0]}. Give the images that were "
            "indexed: creditline.open_index(path, images=...), or --training-images DATA."
        )
    images = loaded.subset([rows[key] for key in facts["id"]])
    images = images.captioned(facts["text"], manifest.facts.get("prompt_template"))
    if "captions" in facts:
        images = images.with_captions(read_captions(facts["captions"]))
    images = images.labeled(facts["label"], manifest.facts.get("label_names"))
    if images.fingerprint != request["fingerprint"]:
        raise IndexMismatchError(
            f"The training images in {loaded.source} have fingerprint {images.fingerprint}, and "
            f"the index was built from {request['fingerprint']}: their preparation or masks "
            "differ. Give the images that were indexed."
        )
    return images
