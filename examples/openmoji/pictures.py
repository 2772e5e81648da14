"""OpenMoji as a folder of pictures with `metadata.csv`: who drew what, and what it shows."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import resvg_py

from creditline.errors import CreditlineError
from creditline.progress import Progress

PACKAGE = "openmoji@17.0.0"
SIZE = 64
LEFT_OUT = ("flags", "component")
"""Groups without an artist's hand in them."""
COLUMNS = ("file_name", "contributor", "group", "text")


def pictures(out: Path, tarball: Path | None = None) -> Path:
    """Draw every emoji that has a named contributor; variants of skin tone are left out.

    Args:
        out: folder that appears when all are drawn.
        tarball: the npm package as a file; None: `npm pack` brings it.

    Raises:
        CreditlineError: if the package cannot be had.
    """
    if out.is_dir():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as aside:
        draft = Path(aside) / out.name
        draft.mkdir()
        with tarfile.open(tarball or _packed(Path(aside))) as package:
            _draw(package, draft)
        shutil.move(draft, out)
    return out


def _packed(folder: Path) -> Path:
    """The npm package, 4 MB."""
    command = ["npm", "pack", PACKAGE, "--silent"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CreditlineError(
            f"'{' '.join(command)}' failed: {error}. Install Node.js, or download the package "
            "elsewhere and give it with --tarball."
        ) from error
    return next(folder.glob("*.tgz"))


def _draw(package: tarfile.TarFile, folder: Path) -> None:
    chosen = _chosen(json.loads(_read(package, "package/data/openmoji.json")))
    with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        with Progress("draw", len(chosen), "picture") as bar:
            for emoji in chosen:
                code = emoji["hexcode"]
                svg = _read(package, f"package/color/svg/{code}.svg").decode("utf-8")
                png = resvg_py.svg_to_bytes(
                    svg, width=SIZE, height=SIZE, background="#ffffff", skip_system_fonts=True
                )
                (folder / f"{code}.png").write_bytes(bytes(png))
                table.writerow(
                    {
                        "file_name": f"{code}.png",
                        "contributor": emoji["openmoji_author"],
                        "group": emoji["group"],
                        "text": emoji["annotation"],
                    }
                )
                bar.advance(1)


def _chosen(emojis: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        emoji
        for emoji in emojis
        if emoji["openmoji_author"] and not emoji["skintone"] and emoji["group"] not in LEFT_OUT
    ]


def _read(package: tarfile.TarFile, name: str) -> bytes:
    file = package.extractfile(name)
    if file is None:
        raise CreditlineError(f"The package has no {name}. Give that of {PACKAGE}.")
    return file.read()
