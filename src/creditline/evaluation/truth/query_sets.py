"""Named sets of query images, prepared like the training images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creditline.data.dataset import is_dataset
from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.data.metadata_spec import MetadataSpec
from creditline.data.template import caption_queries
from creditline.errors import DataError

if TYPE_CHECKING:
    from creditline.data.image_source import ImageSource
    from creditline.indexing.queries import QuerySource

    Source = ImageSource | QuerySource
    NamedQueries = Mapping[str, Source] | Iterable[tuple[str, Source]]

QuerySets = tuple[tuple[str, ImageSet], ...]


def load_query_sets(queries: NamedQueries, images: ImageSet) -> QuerySets:
    """Load named sets of query images.

    Args:
        queries: sources by name, or pairs of name and source. A source is what `load_images`
            takes, or images in memory. Classes and prompts of generated images are read from the
            record beside them. Images in files are captioned by the prompt template of the
            training images, where they have the columns that it names. They have several captions
            if the training images have.
        images: training images, whose preparation and size the queries get.

    Raises:
        DataError: if there are no queries, a name is used twice, or images do not fit.
    """
    pairs = list(queries.items() if isinstance(queries, Mapping) else queries)
    names = [name for name, _ in pairs]
    if not pairs:
        raise DataError("There are no queries. Give at least one folder of images (--queries).")
    duplicates = {name for name in names if names.count(name) > 1}
    if duplicates:
        raise DataError(
            f"Two sets of queries are called {min(duplicates)!r}. Give each its own name, such as "
            "that of its folder."
        )
    return tuple((name, _load(source, images)) for name, source in pairs)


def name_folders(folders: Iterable[str]) -> list[tuple[str, str]]:
    """Name each folder by the last part of its path, or by all of it where two parts are equal."""
    paths = list(folders)
    names = [Path(path).name or path for path in paths]
    return [
        (name if names.count(name) == 1 else path, path)
        for name, path in zip(names, paths, strict=True)
    ]


def _load(source: Any, images: ImageSet) -> ImageSet:
    template = images.prompt_template
    metadata = MetadataSpec(captions="one" if images.captions is None else "all")
    no_folder = isinstance(source, (str, Path)) and not Path(source).is_dir()
    if no_folder or is_dataset(source):  # a zip file, a folder in one, one image, the icons
        loaded = caption_queries(load_images(source, images.spec, metadata=metadata), template)
    else:
        from creditline.indexing.queries import gather

        classes = images.label_names
        loaded = gather(
            source,
            images.spec,
            images.shape,
            runs=False,
            classes=classes,
            template=template,
            captions=metadata.captions,
        ).images
    if loaded.shape != images.shape:
        raise DataError(
            f"The training images have shape {images.shape}, the queries {loaded.source} have "
            f"{loaded.shape}. Prepare both to one size (size=, --size)."
        )
    return loaded
