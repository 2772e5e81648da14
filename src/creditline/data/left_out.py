"""Files of a source that are not read as images, counted and named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from creditline.data.formats import plug_in_for

Skipped = tuple[tuple[str, str], ...]


def describe_left_out(files: Sequence[str]) -> Skipped:
    """Describe files that are left out because of their names, one entry for each ending.

    Args:
        files: paths of files that are neither images nor metadata.

    Returns:
        (name, reason) pairs for `ImageSet.skipped`. The name is that of the first file, and how
        many more have its ending.
    """
    groups: dict[str, list[str]] = {}
    for file in files:
        groups.setdefault(PurePosixPath(file).suffix.lower(), []).append(file)
    return tuple((_names(group), _reason(ending)) for ending, group in sorted(groups.items()))


def _names(files: Sequence[str]) -> str:
    if len(files) == 1:
        return files[0]
    return f"{files[0]} and {len(files) - 1:,} more"


def _reason(ending: str) -> str:
    plug_in = plug_in_for(ending)
    if plug_in is not None:
        return f"{ending} needs a plug-in of Pillow: pip install {plug_in.package}"
    return f"{ending} is not an ending of images" if ending else "a name without an ending"
