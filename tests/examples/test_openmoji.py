"""The OpenMoji example, on synthetic images without a network connection."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

FOLDER = Path(__file__).parents[2] / "examples" / "openmoji"
EACH = {"base": 4, "tune": 6, "held-out": 2}


@pytest.fixture
def data(tmp_path):
    """Shapes by three contributors, in the folders of `emoji_images.py`."""
    rng = np.random.default_rng(0)
    for name, each in EACH.items():
        folder = tmp_path / "out" / "data" / name
        folder.mkdir(parents=True)
        with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["file_name", "contributor", "text"])
            for who, shape in enumerate(("ellipse", "rectangle", "line")):
                for i in range(each):
                    image = Image.new("RGB", (32, 32), "white")
                    corners = [(4 + i, 4), (20, 18 + i)]
                    color = tuple(int(c) for c in rng.integers(0, 200, 3))
                    getattr(ImageDraw.Draw(image), shape)(corners, color)
                    image.save(folder / f"{shape}-{i}.png")
                    table.writerow([f"{shape}-{i}.png", f"artist {who}", f"{shape}: {name} {i}"])
    return tmp_path / "out"


def run(out: Path) -> str:
    done = subprocess.run(
        [sys.executable, FOLDER / "run.py", "--quick", "--workers", "1", "--out", out],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CREDITLINE_PROGRESS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
@pytest.mark.slow
def test_from_images_to_tables(data):
    output = run(data)
    results = (data / "results.md").read_text("utf-8")
    for title in (
        "D-TRAK",
        "TRAK",
        "Gradient (cosine)",
        "seed to seed",
        "second retraining",
        "prompts of",
    ):
        assert title in results, results
    assert results.strip() in output
    for scheme in ("random", "contributor-shares"):
        losses = np.load(data / f"truth-{scheme}" / "losses.npy")
        assert losses.shape == (8, 2, 12)
        assert np.isfinite(losses).all()
        assert len(np.unique(losses)) > 100  # adapters that were trained on other images differ
    with Image.open(data / "sheet.png") as sheet:
        assert sheet.width > 6 * 64
    stages = json.loads((data / "cost.json").read_text("utf-8"))
    assert all(seconds > 0 for seconds in stages.values())


@pytest.mark.slow
def test_images_go_to_the_folder_of_their_contributor(tmp_path, monkeypatch):
    pytest.importorskip("resvg_py")
    monkeypatch.syspath_prepend(str(FOLDER))
    import emoji_images

    emojis = [
        {
            "hexcode": f"{who}-{i}",
            "group": "objects",
            "subgroups": "other-object",
            "annotation": f"thing {i}",
            "openmoji_author": author,
            "skintone": "",
        }
        for who, author in enumerate(("", "Somebody", *emoji_images.NEW))
        for i in range(40)
    ]
    emojis[50]["skintone"] = 2
    emojis[51]["group"] = "flags"
    path = tmp_path / "openmoji.tgz"
    with tarfile.open(path, "w:gz") as package:
        add(package, "data/openmoji.json", json.dumps(emojis))
        for emoji in emojis:
            add(package, f"color/svg/{emoji['hexcode']}.svg", SVG)

    out = emoji_images.draw_images(tmp_path / "data", path)
    rows = {}
    for part in ("base", "tune", "held-out"):
        with open(out / part / "metadata.csv", encoding="utf-8") as file:
            rows[part] = list(csv.DictReader(file))
        files = {row["file_name"] for row in rows[part]}
        assert files == {p.name for p in (out / part).glob("*.png")}
    assert {row["contributor"] for row in rows["base"]} == {"Somebody"}
    assert len(rows["base"]) == 38
    for part, each in (("tune", emoji_images.TUNE), ("held-out", emoji_images.HELD_OUT)):
        count = [row["contributor"] for row in rows[part]]
        assert {who: count.count(who) for who in count} == dict.fromkeys(emoji_images.NEW, each)
    assert rows["tune"][0]["text"].startswith("other object: thing ")
    tune, held_out = ({r["file_name"] for r in rows[part]} for part in ("tune", "held-out"))
    assert not tune & held_out
    with Image.open(out / "base" / "1-0.png") as image:
        assert image.size == (32, 32)
        assert image.convert("RGB").getpixel((16, 16)) == (255, 0, 0)
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">'
    '<circle cx="36" cy="36" r="20" fill="#ff0000"/></svg>'
)


def add(package: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    entry = tarfile.TarInfo(f"package/{name}")
    entry.size = len(data)
    package.addfile(entry, io.BytesIO(data))
