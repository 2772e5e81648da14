"""Take a screenshot of a report (or any local page) with a headless browser, for the README.

    python tools/screenshot.py report.html report.png --width 1200 --height 1500 [--dark]

Needs Chromium or Chrome and Pillow. Phone widths work too: the page is shown in a frame, because
browsers refuse windows narrower than about 500 pixels.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT = 120.0  # seconds
FRAME = """<!doctype html><meta name="color-scheme" content="light dark"><body style="margin:0">
<iframe src="{uri}" style="border:0;display:block;width:{width}px;height:{height}px"></iframe>"""


def screenshot(page: Path, out: Path, width: int, height: int, dark: bool) -> None:
    """Write the top `height` pixels of `page`, shown `width` pixels wide, to the PNG `out`."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"No browser found. Install one of: {', '.join(BROWSERS)}.")
    if not page.is_file():
        sys.exit(f"There is no page {page}.")
    with tempfile.TemporaryDirectory() as folder:
        frame = Path(folder) / "frame.html"
        frame.write_text(FRAME.format(uri=page.resolve().as_uri(), width=width, height=height))
        shot = Path(folder) / "shot.png"
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += ["--no-first-run", "--disable-background-networking"]
        command += [f"--user-data-dir={folder}/profile", f"--screenshot={shot}"]
        command += [f"--window-size={max(width, 500)},{height}"]
        command += ["--blink-settings=preferredColorScheme=0"] if dark else []
        done = subprocess.run(
            [*command, frame.as_uri()], capture_output=True, text=True, timeout=TIMEOUT
        )
        if not shot.is_file():
            sys.exit(f"{browser} took no screenshot:\n{done.stderr[-2000:]}")
        image = Image.open(shot).convert("RGB").crop((0, 0, width, height))
        image.save(out, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--height", type=int, default=1500)
    parser.add_argument("--dark", action="store_true", help="use a dark color scheme")
    screenshot(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
