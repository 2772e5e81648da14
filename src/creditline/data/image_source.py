"""What images can be loaded from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from creditline.data.image_set import ImageSet


class DatasetLike(Protocol):
    """A `datasets.Dataset`; the library is needed only where one is used."""

    @property
    def features(self) -> Mapping[str, Any]: ...

    def with_format(self, type: str | None = None) -> Any: ...

    def __len__(self) -> int: ...


ImageSource = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | DatasetLike | ImageSet
"""A folder, a zip file or a folder in one, an image file, a list of image files, a Hugging Face
`datasets.Dataset`, `"demo:icons"`, or an `ImageSet`; see `load_images`."""
