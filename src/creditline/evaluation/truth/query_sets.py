"""Sets of queries by name, prepared like the training images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from creditline.data.dataset import is_dataset
from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.data.template import captioned_alike
from creditline.errors import DataError
from creditline.settings import to_dict

Named = tuple[tuple[str, ImageSet], ...]


def query_sets(queries: Mapping[str, Any] | Iterable[tuple[str, Any]], images: ImageSet) -> Named:
    """Load named queries.

    Args:
        queries: sources by name, or pairs of name and source. A source is what `load_images`
            takes, or pictures in memory; classes and prompts of generated pictures are found in
            the record beside them. Pictures in files are captioned by the template that captioned
            the training images, where they have what it names.
        images: training images, whose preparation and size the queries get.

    Raises:
        DataError: if there are none, a name is used twice, or pictures do not fit.
    """
    pairs = list(queries.items() if isinstance(queries, Mapping) else queries)
    names = [name for name, _ in pairs]
    if not pairs:
        raise DataError("There are no queries. Give at least one folder of pictures (--queries).")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise DataError(
            f"Two sets of queries are called {min(twice)!r}. Give each its own name, such as that "
            "of its folder."
        )
    return tuple((name, _load(source, images)) for name, source in pairs)


def name_folders(folders: Iterable[str]) -> list[tuple[str, str]]:
    """Folders with a name each: the last part of the path, or all of it where two share that."""
    listed = list(folders)
    names = [Path(folder).name or folder for folder in listed]
    return [
        (name if names.count(name) == 1 else folder, folder)
        for name, folder in zip(names, listed, strict=True)
    ]


def _load(source: Any, images: ImageSet) -> ImageSet:
    template = images.prompt_template
    no_folder = isinstance(source, (str, Path)) and not Path(source).is_dir()
    if no_folder or is_dataset(source):  # a zip file, a folder in one, one picture, the icons
        loaded = captioned_alike(load_images(source, **to_dict(images.spec)), template)
    else:
        from creditline.indexing.queries import gather

        classes = images.label_names
        loaded = gather(
            source, images.spec, images.shape, runs=False, classes=classes, template=template
        ).images
    if loaded.shape != images.shape:
        raise DataError(
            f"The training images have shape {images.shape}, the queries {loaded.source} have "
            f"{loaded.shape}. Prepare both to one size (size=, --size)."
        )
    return loaded
