"""OpenMoji as folders of images with captions and contributors in `metadata.csv`."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from creditline.errors import CreditlineError
from creditline.fingerprint import key64
from creditline.runtime import Runtime

PACKAGE = "openmoji@17.0.0"
SIDE = 32
EXCLUDED = ("flags", "component")
"""Groups of emoji without a creative choice."""
NEW = (
    "Crystal Moon",  # lettered buttons
    "Jonas Roßner",  # clothes and computers
    "Julian Grüneberg",  # hands
    "Miriam Vollmeier",  # food
    "Ronja Bäurlen",  # vehicles
    "Sofie Ascherl",  # mammals
)
"""Contributors whose images the base model is not trained on."""
TUNE, HELD_OUT = 32, 6
"""Images of each new contributor: for tuning, and as queries."""

Emoji = dict[str, Any]


def draw_images(out: Path, tarball: Path | None = None) -> Path:
    """Draw every emoji with a named contributor, without variants of skin tone.

    Args:
        out: folder that appears when all images are drawn. It holds `tune/` and `held-out/` with
            images of the new contributors, and `base/` with those of all others.
        tarball: the npm package as a file; by default `npm pack` downloads it.

    Raises:
        CreditlineError: if the package cannot be downloaded, or is another one.
    """
    if out.is_dir():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as aside:
        draft = Path(aside) / "draft"
        with tarfile.open(tarball or _download(Path(aside))) as package:
            table = json.loads(_read(package, "data/openmoji.json"))
            for name, part in _parts([emoji for emoji in table if _is_used(emoji)]).items():
                _draw(package, part, draft / name)
        shutil.move(draft, out)
    return out


def _download(folder: Path) -> Path:
    """Download the npm package, 4 MB."""
    command = ["npm", "pack", PACKAGE, "--silent"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CreditlineError(
            f"'{' '.join(command)}' failed: {error}. Install Node.js, or download the package "
            "elsewhere and give it with --tarball."
        ) from error
    return next(folder.glob("*.tgz"))


def _is_used(emoji: Emoji) -> bool:
    return bool(
        emoji["openmoji_author"] and not emoji["skintone"] and emoji["group"] not in EXCLUDED
    )


def _parts(emojis: Sequence[Emoji]) -> dict[str, list[Emoji]]:
    """Assign emoji to folders; those of a new contributor are shuffled first."""
    parts = {"base": [e for e in emojis if e["openmoji_author"] not in NEW]}
    parts |= {"tune": [], "held-out": []}
    for who in NEW:
        own = [emoji for emoji in emojis if emoji["openmoji_author"] == who]
        order = np.random.Generator(np.random.Philox(key=key64("openmoji", who)))
        shuffled = [own[i] for i in order.permutation(len(own))]
        parts["tune"] += shuffled[:TUNE]
        parts["held-out"] += shuffled[TUNE : TUNE + HELD_OUT]
    return parts


def _draw(package: tarfile.TarFile, emojis: Sequence[Emoji], folder: Path) -> None:
    import resvg_py  # an optional dependency

    folder.mkdir(parents=True)
    with (
        open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file,
        Runtime().progress(f"draw {folder.name}", len(emojis), "image") as bar,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["file_name", "contributor", "text"])
        for emoji in emojis:
            name = f"{emoji['hexcode']}.png"
            svg = _read(package, f"color/svg/{emoji['hexcode']}.svg").decode("utf-8")
            png = resvg_py.svg_to_bytes(
                svg, width=SIDE, height=SIDE, background="#ffffff", skip_system_fonts=True
            )
            (folder / name).write_bytes(bytes(png))
            table.writerow([name, emoji["openmoji_author"], prompt(emoji)])
            bar.advance(1)


def prompt(emoji: Emoji) -> str:
    """Caption an emoji by its kind and name, such as 'animal mammal: cow face'."""
    return f"{emoji['subgroups'].replace('-', ' ')}: {emoji['annotation']}"


def _read(package: tarfile.TarFile, name: str) -> bytes:
    try:
        file = package.extractfile(f"package/{name}")
    except KeyError:
        file = None
    if file is None:
        raise CreditlineError(f"The package has no {name}. Give that of {PACKAGE}.")
    return file.read()
