"""The image formats that are read, and the file name endings that stand for them.

Pillow tries every format that it knows, whatever a file is called, and hands PostScript to
Ghostscript, which executes it. So each image is opened with this list.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath

from PIL import Image

# TGA is last, since it has no signature.
BUILT_IN = (
    *("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "JPEG2000", "ICO", "PPM", "TGA"),
)
"""Names that Pillow has for its formats."""

ENDINGS = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".gif", ".bmp", ".dib"}
    | {".tif", ".tiff", ".tga", ".jp2", ".j2k", ".ico", ".ppm", ".pgm", ".pbm", ".pnm"}
)
"""Lower-case file name endings that are taken for images."""


@dataclass(frozen=True)
class PlugIn:
    """A package that teaches Pillow a format.

    Attributes:
        module: what to import.
        package: what to install.
        format: Pillow's name of the format.
        endings: lower-case file name endings.
        register: function of the module that registers the format; empty: importing does.
    """

    module: str
    package: str
    format: str
    endings: tuple[str, ...]
    register: str = ""


PLUG_INS = (
    PlugIn(
        "pillow_heif", "pillow-heif", "HEIF", (".heic", ".heif", ".hif"), "register_heif_opener"
    ),
    PlugIn("pillow_jxl", "pillow-jxl-plugin", "JXL", (".jxl",)),
    PlugIn("pillow_avif", "pillow-avif-plugin", "AVIF", (".avif", ".avifs")),
)


@cache
def readable_formats() -> tuple[str, ...]:
    """The formats that this installation of Pillow reads, in the order in which they are tried."""
    for plug_in in PLUG_INS:
        try:
            module = importlib.import_module(plug_in.module)
            if plug_in.register:
                getattr(module, plug_in.register)()
        except (
            ImportError,
            AttributeError,
            RuntimeError,
            OSError,
        ):  # not installed, or made for another Pillow
            continue
    Image.init()
    names = dict.fromkeys((*BUILT_IN, *(plug_in.format for plug_in in PLUG_INS)))
    return tuple(name for name in names if name in Image.OPEN)


@cache
def image_endings() -> frozenset[str]:
    """Lower-case file name endings that are taken for images, with those of plug-ins."""
    known = readable_formats()
    return ENDINGS.union(*(plug_in.endings for plug_in in PLUG_INS if plug_in.format in known))


def is_image_file(name: str) -> bool:
    """Whether a file name ends as those of images do."""
    return PurePosixPath(name).suffix.lower() in image_endings()


def plug_in_for(ending: str) -> PlugIn | None:
    """The plug-in that would read files with an ending; None if none is known."""
    return next((plug_in for plug_in in PLUG_INS if ending.lower() in plug_in.endings), None)
