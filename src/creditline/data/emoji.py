"""Emoji that ship: faces, animals, hearts and creatures of seven sets, 24x24 pixels.

`LICENSES.txt` beside them has their licenses and sources. `tools.emoji_set` draws them from the
sets' npm packages.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from creditline.data.archive_files import ArchiveFiles
from creditline.data.image_listing import ImageListing
from creditline.data.metadata_files import list_files
from creditline.errors import DataError

FOLDER = Path(str(files("creditline.data"))) / "shipped" / "emoji"


def list_emoji(part: str) -> ImageListing:
    """List the emoji of one part, with columns contributor, label, text and license.

    Args:
        part: `train`, 64 images of each set, or `held-out`, the rest.

    Raises:
        DataError: if the file is missing from the installation.
    """
    path = FOLDER / f"{part}.zip"
    if not path.is_file():
        raise DataError(f"{path} is missing. Install Creditline again.")
    listing = list_files(ArchiveFiles(path))
    return replace(listing, label="demo:emoji" if part == "train" else f"demo:emoji/{part}")
