"""The query images of an LDS evaluation, folder by folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creditline.data.image_set import ImageSet
from creditline.data.image_spec import ImageSpec
from creditline.data.load import load_images
from creditline.data.metadata_spec import MetadataSpec
from creditline.data.template import caption_queries
from creditline.indexing.queries import gather
from creditline.settings import from_dict

if TYPE_CHECKING:
    from creditline.indexing.index import Index

OVERALL = "all queries"


@dataclass(frozen=True)
class QueryFolder:
    """Query images of one folder.

    Attributes:
        name: name of the folder.
        source: images from which the index extracts features.
        images: the same images, prepared like the training images.
    """

    name: str
    source: Any
    images: ImageSet


def load_query_folders(index: Index, queries: Sequence[tuple[str, Any]]) -> list[QueryFolder]:
    """Load named folders of query images and prepare them like the images of an index."""
    return [QueryFolder(name, *_load(index, source)) for name, source in queries]


def group_rows(folders: Sequence[QueryFolder]) -> list[tuple[str, slice]]:
    """Name and rows of the queries of each folder, then of all folders if there are several."""
    groups, start = [], 0
    for folder in folders:
        groups.append((folder.name, slice(start, start + len(folder.images))))
        start += len(folder.images)
    return groups if len(groups) == 1 else [*groups, (OVERALL, slice(0, start))]


def _load(index: Index, source: Any) -> tuple[Any, ImageSet]:
    """Return the source for `Index.extract` and the prepared images."""
    request, facts = index.manifest.request["images"], index.manifest.facts
    spec, template = from_dict(ImageSpec, request["spec"]), facts.get("prompt_template")
    metadata = MetadataSpec(captions="all" if "captions" in request else "one")
    if isinstance(source, (str, Path)) and not Path(source).is_dir():  # such as part of a zip file
        source = caption_queries(load_images(source, spec, metadata=metadata), template)
    prepared = gather(
        source,
        spec,
        tuple(request["shape"]),
        runs=False,
        classes=facts.get("label_names"),
        template=template,
        captions=metadata.captions,
    )
    return source, prepared.images
