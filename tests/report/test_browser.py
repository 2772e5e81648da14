"""The report in a real browser: images load, nothing is wider than the screen, nothing complains.

The page is put unchanged into a frame (`srcdoc`) of a page that looks at it and prints what it saw.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from creditline.report import render

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome"),
    pytest.mark.slow,  # starts a browser
]

TOOL = Path(__file__).parents[2] / "tools" / "screenshot.py"
WATCH = """<!doctype html><meta charset="utf-8"><pre id="seen"></pre>
<iframe id="frame" style="border:0;width:{width}px;height:900px" srcdoc="{page}"></iframe>
<script>
frame.onload = async () => {{
  const d = frame.contentDocument, root = d.documentElement;
  const folded = [...d.querySelectorAll(".images > details .entries > li")];
  if (folded.length) {{
    // A click would lead to the outer page, whose address is the base of the inner one.
    d.defaultView.location.hash = d.querySelector(`.cards [href="#${{folded.at(-1).id}}"]`).hash;
    await new Promise(done => setTimeout(done, 100));
  }}
  const reached = folded.every(x => x.closest("details").open);
  d.querySelectorAll("details").forEach(x => x.open = true);
  const images = [...d.images], parts = [...d.querySelectorAll("svg image")];
  const cards = [...d.querySelectorAll("svg use")];
  await Promise.allSettled(images.map(x => x.decode()));
  const decoded = await Promise.allSettled(parts.map(x => x.decode()));
  const drawn = [...images, ...d.querySelectorAll("svg")];
  const size = x => x.naturalWidth ?? x.viewBox.baseVal.width;
  const small = drawn.filter(x => size(x) && size(x) < 96);
  seen.textContent = JSON.stringify({{
    images: images.length,
    loaded: images.filter(x => x.complete && x.naturalWidth > 0 && x.clientWidth > 0).length,
    entries: decoded.filter(x => x.status == "fulfilled").length,
    cards: cards.filter(x => x.getBBox().width == size(x.ownerSVGElement)).length,
    uneven: small.filter(x => x.clientWidth % size(x)).length,
    blurred: small.filter(x => getComputedStyle(x).imageRendering != "pixelated").length,
    overflow: root.scrollWidth - root.clientWidth,
    scripts: d.scripts.length,
    folded: folded.length,
    reached,
    font: d.defaultView.getComputedStyle(d.body).fontFamily,
  }});
}};
</script>"""
HOSTILE = ("<script>alert(1)</script>", "x" * 300, "عربي", "🎨", "long words " * 28, "'\"")


def look(page: str, width: int, folder: Path) -> dict:
    """What a browser sees of the page at this width, its console included."""
    watch = folder / "watch.html"
    watch.write_text(WATCH.format(page=html.escape(page), width=width), "utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", f"--user-data-dir={folder / 'profile'}"]
    command += ["--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom"]
    for _ in range(4):  # on a busy machine virtual time can run out before the frame is there
        done = subprocess.run(
            [*command, watch.as_uri()], capture_output=True, text=True, timeout=120, check=True
        )
        seen = re.search(r'<pre id="seen">(.+?)</pre>', done.stdout, re.DOTALL)
        if seen:
            console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
            return {**json.loads(html.unescape(seen.group(1))), "console": console}
    raise AssertionError(f"The page never loaded: {done.stderr[-500:]}")


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("kind", ["plain", "hostile", "similarity"])
def test_images_load_and_nothing_overflows(make_trace, tmp_path, width, kind):
    traces = {
        "plain": lambda: make_trace(queries=3, top=12),
        "hostile": lambda: make_trace(
            contributors=(*HOSTILE, None),
            names=HOSTILE,
            texts=(None, *HOSTILE),
            columns=tuple({name: name, "url": f"https://example.org/{name}"} for name in HOSTILE),
            top=8,
        ),
        "similarity": lambda: make_trace(queries=1, causal=False, side=200),
    }
    trace = traces[kind]()
    seen = look(render(trace), width, tmp_path)
    hits = [hit for query in trace for hit in (*query.proponents, *query.opponents)]
    thumbs = len(trace) if len(trace) > 1 else 0
    assert seen["images"] == seen["loaded"] == len(trace) + thumbs
    assert seen["entries"] == len({hit.row for hit in hits})
    assert seen["cards"] == len(hits)
    assert seen["overflow"] == 0
    assert seen["blurred"] == 0
    assert seen["uneven"] == 0
    assert seen["scripts"] == 0
    assert seen["console"] == []
    assert "system-ui" in seen["font"]


def test_a_card_leads_to_its_entry_also_where_that_is_folded(make_trace, tmp_path):
    seen = look(render(make_trace(queries=3, top=15, n=300)), 1200, tmp_path)
    assert seen["folded"] > 10
    assert seen["reached"]
    assert seen["console"] == []


def test_the_watch_would_see_what_is_wrong(make_trace, tmp_path):
    page = render(make_trace(queries=1))
    page = page.replace("data:image/png;base64,iVBOR", "data:image/png;base64,AAAAA", 1)
    harm = '<div style="width:2000px">wide</div><img src="https://creditline.invalid/x.png">'
    seen = look(page.replace("</body>", f"{harm}<script>1</script></body>"), 390, tmp_path)
    assert seen["loaded"] == seen["images"] - 2
    assert seen["overflow"] > 1000
    assert any("Content Security Policy" in line for line in seen["console"])
    assert seen["scripts"] == 1


def brightness(image: Path) -> float:
    return float(np.asarray(Image.open(image).convert("L")).mean())


def test_the_screenshot_tool_shows_light_and_dark(make_trace, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(render(make_trace()), "utf-8")
    for name, options in {"light": [], "dark": ["--dark"]}.items():
        command = [sys.executable, TOOL, page, tmp_path / f"{name}.png", *options]
        subprocess.run([*command, "--width", "390", "--height", "600"], check=True, timeout=120)
        image = Image.open(tmp_path / f"{name}.png")
        assert image.size == (390, 600)
        assert len(image.getcolors(1 << 20)) > 50
    assert brightness(tmp_path / "light.png") > 150
    assert brightness(tmp_path / "dark.png") < 100
