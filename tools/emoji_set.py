"""Draw the images of `demo:emoji`: faces, animals, hearts and creatures of seven emoji sets.

Each set is an npm package of vector images. `npm pack` downloads them; the results are ZIP files
of PNG images of 24x24 pixels with `metadata.csv`, and `LICENSES.txt`. The same packages give the
same bytes.

    python -m tools.emoji_set src/creditline/data/shipped/emoji

`train.zip` has 64 images of each set, chosen by a hash of their names; `held-out.zip` has the
rest. `base.zip` has food, objects, places and plants of the same sets, for a base model; it does
not ship.
"""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import resvg_py
from PIL import Image

from creditline.fingerprint import key64

SIDE, OVERSAMPLING = 24, 4
TRAINED_EACH = 64
FACE = re.compile(r"^(?!.*(moon|wind|sun)-).*\bface\b")
HEART = re.compile(r"^(?!.*(couple|white)).*\bhearts?\b")
OTHERS = re.compile(r"\b(face|man|men|woman|women|person|people|hearts?|cat|monkey)\b|skin-tone")
"""Not drawn for the base model: people, and what is in the other images."""
BASE = "other"
ALSO_FACES = {
    "exploding-head",
    "head-shaking-horizontally",
    "head-shaking-vertically",
    "rolling-on-the-floor-laughing",
    "star-struck",
}
CREATURES = {
    "alien",
    "alien-monster",
    "angry-face-with-horns",
    "clown-face",
    "ghost",
    "goblin",
    "ogre",
    "pile-of-poo",
    "robot",
    "robot-face",
    "skull",
    "skull-and-crossbones",
    "smiling-face-with-horns",
}
ANIMALS = {
    "bear",
    "bear-face",
    "cat-face",
    "chicken",
    "cow-face",
    "dog-face",
    "dragon-face",
    "fox",
    "fox-face",
    "frog",
    "frog-face",
    "hamster",
    "hamster-face",
    "horse-face",
    "koala",
    "lion",
    "lion-face",
    "monkey-face",
    "moose",
    "mouse-face",
    "panda",
    "panda-face",
    "penguin",
    "pig-face",
    "polar-bear",
    "rabbit-face",
    "raccoon",
    "tiger-face",
    "unicorn",
    "unicorn-face",
    "wolf",
    "wolf-face",
}
MOZILLA = {
    "face": "angry anguish astonished coldsweat confounded confused crying disappointed "
    "dissapointedrelief dizzyface expressionless fearful flushed frown frownmouth grimacing grin "
    "grineyes grinsquint grinsweat grintears grinwide grinwideeyes halo hearteyes hushed kissing "
    "kissclosedeyes kisseyes loudlycrying medicalmask neutral nomouth openmouth pensive perservere "
    "relieved screamfear sleeping sleepy smallfrown smallsmile smileeyes smiletongue smirk "
    "sunglasses sweat tired tongueout tongueoutwink tongueoutwink2 triumph unamused",
    "animal": "bear bunny cat cowface dog foxcrying foxgrin foxheart foxkissing foxpouting "
    "foxsmiling foxtearofjoy foxweary foxwry frog hampster horseface koala monkeyface monkeyhear "
    "monkeysee monkeyspeak mouse pandaface penguin pig tiger wolfface",
    "heart": "2hearts beating-heart brokenheart growingheart heartarrow heartgreen "
    "heartpurple heartyellow redheart revolvinghearts sparklingheart",
    "creature": "alien devilhorns imp japaneseangrymask ogre poo skull",
}
"""Names of FxEmojis, which has names of its own, by kind."""

Entry = tuple[tuple[str, ...], bytes]
"""Row of the table, and PNG file."""


@dataclass(frozen=True)
class EmojiSet:
    """An emoji set as an npm package in Iconify's format.

    Attributes:
        key: first part of the images' names.
        package: name and version on npm.
        contributor: who is credited.
        license: of the images.
        source: where they come from.
        categories: in which faces, animals, hearts and creatures are.
        base_categories: with other things.
    """

    key: str
    package: str
    contributor: str
    license: str
    source: str
    categories: tuple[str, ...]
    base_categories: tuple[str, ...]

    def kind(self, name: str) -> str | None:
        """Return the kind of an emoji, or None for those left out."""
        if self.key == "fx":
            return next((kind for kind, names in MOZILLA.items() if name in names.split()), None)
        name = re.sub(r"-\d$", "", name)
        if name in CREATURES:
            return "creature"
        if name in ANIMALS or re.search(r"\bcat\b|-monkey$", name):
            return "animal"
        if name in ALSO_FACES or FACE.search(name):
            return "face"
        return "heart" if HEART.search(name) else None


UNICODE = ("Smileys & Emotion", "Animals & Nature")
UNICODE_BASE = ("Activities", "Animals & Nature", "Food & Drink", "Objects", "Travel & Places")
SETS = (
    EmojiSet(
        "twemoji",
        "@iconify-json/twemoji@1.2.5",
        "Twemoji",
        "CC BY 4.0",
        "Copyright Twitter, Inc and other contributors, https://github.com/jdecked/twemoji",
        UNICODE,
        UNICODE_BASE,
    ),
    EmojiSet(
        "noto",
        "@iconify-json/noto@1.2.9",
        "Noto Emoji",
        "Apache-2.0",
        "Google, https://github.com/googlefonts/noto-emoji",
        UNICODE,
        UNICODE_BASE,
    ),
    EmojiSet(
        "blobs",
        "@iconify-json/noto-v1@1.2.5",
        "Google Blobs",
        "Apache-2.0",
        "Google, Noto Emoji of 2017, https://github.com/googlefonts/noto-emoji",
        UNICODE,
        UNICODE_BASE,
    ),
    EmojiSet(
        "fluent",
        "@iconify-json/fluent-emoji-flat@1.2.6",
        "Fluent Emoji",
        "MIT",
        "Copyright Microsoft Corporation, https://github.com/microsoft/fluentui-emoji",
        UNICODE,
        UNICODE_BASE,
    ),
    EmojiSet(
        "emojione",
        "@iconify-json/emojione@1.2.3",
        "EmojiOne",
        "CC BY 4.0",
        "EmojiOne 2, https://github.com/EmojiTwo/emojitwo",
        ("People", "Nature"),
        ("Activities", "Food", "Nature", "Objects", "Travel"),
    ),
    EmojiSet(
        "fx",
        "@iconify-json/fxemoji@1.2.2",
        "FxEmojis",
        "Apache-2.0",
        "Mozilla, https://github.com/mozilla/fxemoji",
        ("People", "Nature"),
        ("Nature", "Objects", "Places"),
    ),
    EmojiSet(
        "streamline",
        "@iconify-json/streamline-emojis@1.2.4",
        "Streamline",
        "CC BY 4.0",
        "Streamline, https://github.com/webalys-hq/streamline-vectors",
        ("Smiley People", "Animals Nature"),
        ("Activity", "Animals Nature", "Food Drink", "Objects", "Travel Places"),
    ),
)


def draw(emoji_set: EmojiSet, folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield name, kind and PNG file of every emoji of a set, sorted by name."""
    command = ["npm", "pack", emoji_set.package, "--silent"]
    name = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    with tarfile.open(folder / name.strip()) as package:
        icons, metadata = (_read(package, f) for f in ("icons.json", "metadata.json"))
    names = [_names(metadata, x) for x in (emoji_set.categories, emoji_set.base_categories)]
    for name in sorted((names[0] | names[1]) & set(icons["icons"])):
        kind = emoji_set.kind(name) if name in names[0] else None
        if kind is not None:
            yield name, kind, _png(icons, name)
        elif name in names[1] and not OTHERS.search(name):
            yield name, BASE, _png(icons, name)


def _names(metadata: dict[str, Any], categories: tuple[str, ...]) -> set[str]:
    return {name for category in categories for name in metadata["categories"][category]}


def _read(package: tarfile.TarFile, name: str) -> dict[str, Any]:
    file = package.extractfile(f"package/{name}")
    return json.loads(file.read()) if file else {}


def _png(icons: dict[str, Any], name: str) -> bytes:
    icon = icons["icons"][name]
    left, top = icon.get("left", 0), icon.get("top", 0)
    width, height = (icon.get(k, icons.get(k, 16)) for k in ("width", "height"))
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}">{icon["body"]}</svg>'
    )
    large = SIDE * OVERSAMPLING
    png = resvg_py.svg_to_bytes(
        svg, width=large, height=large, background="#ffffff", skip_system_fonts=True
    )
    image = (
        Image.open(io.BytesIO(bytes(png))).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    )
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write(path: Path, images: list[Entry]) -> None:
    """Write images, with their rows of the table, as one ZIP file."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("file_name", "contributor", "label", "text", "license"))
    writer.writerows(row for row, _ in images)
    with zipfile.ZipFile(path, "w") as archive:
        for row, png in images:
            archive.writestr(zipfile.ZipInfo(row[0]), png)
        archive.writestr(zipfile.ZipInfo("metadata.csv"), table.getvalue())
    click.echo(f"{len(images)} images, {path.stat().st_size / 1e6:.2f} MB: {path}")


@click.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
def main(out: Path) -> None:
    """Write the ZIP files into the folder OUT."""
    out.mkdir(parents=True, exist_ok=True)
    seen: set[bytes] = set()
    parts: dict[str, list[Entry]] = {"train": [], "held-out": [], "base": []}
    with tempfile.TemporaryDirectory() as folder:
        for emoji_set in SETS:
            own: list[Entry] = []
            for name, kind, png in draw(emoji_set, Path(folder)):
                if png in seen:  # two names of one drawing
                    continue
                seen.add(png)
                file, caption = f"{emoji_set.key}/{name}.png", name.replace("-", " ")
                row = (file, emoji_set.contributor, kind, caption, emoji_set.license)
                (parts["base"] if kind == BASE else own).append((row, png))
            order = sorted(own, key=lambda entry: int(key64("emoji", entry[0][0])[0]))
            train = {row for row, _ in order[:TRAINED_EACH]}
            for entry in own:
                parts["train" if entry[0] in train else "held-out"].append(entry)
    for part, images in parts.items():
        write(out / f"{part}.zip", images)
    terms = "\n".join(f"{s.contributor}: {s.license}. {s.source}" for s in SETS)
    note = (
        f"Drawn at {SIDE}x{SIDE} pixels on white from vector images of these sets. Apache-2.0.txt "
        "and MIT.txt have the terms; those of CC BY 4.0: "
        "https://creativecommons.org/licenses/by/4.0/\n\n"
    )
    (out / "LICENSES.txt").write_text(note + terms + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
