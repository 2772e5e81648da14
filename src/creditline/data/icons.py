"""The demo's images: icons of 16x16 pixels by four artists, out of packages on PyPI.

The packages are read as files; their code is never imported. Blank tiles and repeated ones are
dropped: the first in the order of `PACKS`, then of file names, stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from PIL import Image

from creditline.data.decode import decode
from creditline.data.image_listing import ImageListing
from creditline.data.image_spec import ImageSpec
from creditline.data.pixel_array import content_hash
from creditline.data.preparation import prepare
from creditline.errors import DataError

SIDE = 16


@dataclass(frozen=True)
class IconPack:
    """One artist's icons: the package they ship in and where they lie in it.

    Attributes:
        name: first part of the icons' names.
        package, version: as pip knows it.
        contributor: the artist.
        license: of the icons, not of the package's code.
        folder: inside the installed package.
        sprite: name of one large image of tiles, with a JSON file of positions beside it;
            None if every icon is a file.
    """

    name: str
    package: str
    version: str
    contributor: str
    license: str
    folder: str
    sprite: str | None = None

    def tiles(self) -> Iterator[tuple[str, Image.Image]]:
        """Name and image of each icon, sorted by name; images of other sizes are left out."""
        root = self._root()
        if self.sprite is not None:
            yield from self._cut(root)
            return
        for path in sorted(root.rglob("*.png")):
            name = path.relative_to(root).with_suffix("").as_posix()
            image = decode(path.read_bytes(), str(path))
            if image.size == (SIDE, SIDE):
                yield name, image

    def _root(self) -> Path:
        try:
            distribution = metadata.distribution(self.package)
        except metadata.PackageNotFoundError as error:
            raise _absent(f"the package {self.package} is not installed") from error
        root = Path(str(distribution.locate_file(self.folder)))
        if not root.is_dir():
            raise _absent(f"{self.package} {distribution.version} has no {self.folder}")
        return root

    def _cut(self, root: Path) -> Iterator[tuple[str, Image.Image]]:
        places = json.loads((root / f"{self.sprite}.json").read_text(encoding="utf-8"))
        path = root / f"{self.sprite}.png"
        sheet = decode(path.read_bytes(), str(path))
        for name, (left, top) in sorted(places.items()):
            yield name, sheet.crop((left, top, left + SIDE, top + SIDE))


PACKS = (
    IconPack(
        "crystal",
        "crystal-small",
        "2022.7.28",
        "Everaldo Coelho",
        "LGPL",
        "crystal_small/static/crystal/16x16",
    ),
    IconPack("silk", "Flask-Silk", "0.2", "Mark James", "CC BY 2.5", "flask_silk/icons"),
    IconPack(
        "fugue",
        "fugue-icons",
        "3.5.6",
        "Yusuke Kamiyamane",
        "CC BY 3.0",
        "fugue_icons/static",
        sprite="fugue-icons",
    ),
    IconPack(
        "tango",
        "wx-icons-tango",
        "0.2.0",
        "Tango Desktop Project",
        "public domain",
        "wx_icons_tango/Tango/16x16",
    ),
)

# Without --no-deps pip would fetch web frameworks that the icons do not need, and fail on
# `distribute`, which fugue-icons asks for and which no longer installs.
PIP_COMMAND = "pip install --no-deps " + " ".join(f"{p.package}=={p.version}" for p in PACKS)


def list_icons() -> ImageListing:
    """List every distinct icon, with columns contributor, text, license and package.

    Raises:
        DataError: if one of the packages is not installed; the message says how to.
    """
    names: list[str] = []
    images: list[Image.Image] = []
    rows: list[tuple[str, str, str, str]] = []
    seen: set[str] = set()
    for pack in PACKS:
        for name, image in pack.tiles():
            pixels = prepare(image, ImageSpec())
            key = content_hash(pixels)
            if key in seen or (pixels == pixels[0, 0]).all():
                continue
            seen.add(key)
            names.append(f"{pack.name}/{name}.png")
            images.append(image)
            rows.append((pack.contributor, caption(name), pack.license, pack.package))
    titles = ("contributor", "text", "license", "package")
    columns = dict(zip(titles, zip(*rows, strict=True), strict=True))
    return ImageListing("demo:icons", names, images.__getitem__, columns)


def caption(name: str) -> str:
    """A readable caption from an icon's file name: `apps/mail--plus` is "mail plus"."""
    return " ".join(re.split(r"[\s_\-.]+", name.rsplit("/", 1)[-1])).strip()


def _absent(what: str) -> DataError:
    return DataError(f"The demo's icons cannot be read: {what}. Install them with\n  {PIP_COMMAND}")
