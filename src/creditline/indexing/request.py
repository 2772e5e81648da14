"""The request of an index: everything that decides its contents, and facts beside it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from creditline import methods
from creditline.data.captions import read_captions
from creditline.data.image_fingerprint import fingerprint_images
from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.load import learning_rate
from creditline.errors import SettingsError
from creditline.features.extractor import FeatureExtractor
from creditline.fingerprint import of_json
from creditline.indexing.metadata_columns import read_columns
from creditline.manifest import circumstances
from creditline.methods.attributor import Attributor
from creditline.methods.subset_losses import SubsetLosses
from creditline.settings import describe, from_dict, to_dict


def index_request(
    method: Attributor,
    extractor: FeatureExtractor,
    models: Sequence[Denoiser],
    images: ImageSet,
    shard_rows: int,
    subsets: SubsetLosses | None = None,
) -> dict[str, Any]:
    """Everything that decides an index's contents, as JSON values.

    Args:
        method: that the index is built for.
        extractor: of its features.
        models: under which images are attributed; empty where the method takes none.
        images: the training images.
        shard_rows: images per shard.
        subsets: losses of retrained models, for subset methods.
    """
    optional = {"masks": images.mask_ids, "captions": images.captions}
    return {
        "method": {"name": methods.reference(method), "settings": describe(method)},
        "images": {
            "fingerprint": images.fingerprint,
            "n": len(images),
            "shape": list(images.shape),
            "spec": to_dict(images.spec),
            "described": _description(images.names, images.contributors, images.columns),
            **{name: of_json(part) for name, part in optional.items() if part is not None},
        },
        "models": [
            {"fingerprint": m.fingerprint, "learning_rate": learning_rate(m.source)} for m in models
        ],
        "features": {
            "kind": extractor.kind,
            "models": extractor.models,
            "dim": extractor.dim,
            "halves": extractor.has_halves,
            "sets": dict(extractor.feature_sets),
            "bits": list(extractor.bits),
            "shard_rows": shard_rows,
        },
        **({} if subsets is None else {"subsets": subsets.fingerprint()}),
    }


def images_request(
    facts: Mapping[str, list], before: Mapping[str, Any], table: Path
) -> dict[str, Any]:
    """The images' part of a request, for the rows that a table holds now.

    Args:
        facts: of all rows; see `Store.facts`.
        before: that part for the rows that it held before.
        table: its path, for messages.

    Raises:
        DamageError: if the metadata columns of a row cannot be read.
    """
    each = [read_columns(text, table) for text in facts["columns"]]
    columns = {name: [row.get(name) for row in each] for name in dict.fromkeys(chain(*each))}
    ids, labels, texts, masks = facts["id"], facts["label"], facts["text"], facts.get("mask")
    captions = None if "captions" not in facts else read_captions(facts["captions"])
    optional = {"masks": masks, "captions": captions}
    return {
        **before,
        **{name: of_json(part) for name, part in optional.items() if part is not None},
        "fingerprint": fingerprint_images(ids, labels, texts, before["spec"], masks, captions),
        "n": len(ids),
        "described": _description(facts["name"], facts["contributor"], columns),
    }


def _description(
    names: Sequence[str],
    contributors: Sequence[str | None],
    columns: Mapping[str, Sequence[str | None]],
) -> str:
    """Fingerprint of what is stored with every image and is not in the images' own fingerprint."""
    return of_json([names, contributors, dict(columns)])


def index_facts(
    extractor: FeatureExtractor, models: Sequence[Denoiser], images: ImageSet
) -> dict[str, Any]:
    """What is worth knowing about an index beyond its request."""
    return {
        "model_sources": [m.source for m in models],
        "model_options": [dict(m.options) for m in models],
        "data_source": images.source,
        "duplicates": [list(group) for group in images.duplicates()],
        "skipped": [list(pair) for pair in images.skipped],
        "label_names": None if images.label_names is None else list(images.label_names),
        **({"prompt_template": images.prompt_template} if images.prompt_template else {}),
        "parameters": extractor.parameters,
        **circumstances(),
    }


def method_of(request: Mapping[str, Any]) -> Attributor:
    """The method that a manifest's request describes.

    Raises:
        SettingsError: if its class is not installed, or only named by its place and not imported
            yet: a file does not choose which code runs.
    """
    recipe = request["method"]
    module, separator, _ = recipe["name"].partition(":")
    if separator and module not in sys.modules:
        raise SettingsError(
            f"The index is of the method {recipe['name']!r}, a class that is registered nowhere. A "
            f"file must not choose the code that runs. If you trust it, give --method "
            f"{recipe['name']}, or import {module} before the index is opened; or register the "
            "method (see docs/contributing/method.md)."
        )
    return from_dict(methods.get(recipe["name"]), recipe["settings"])
