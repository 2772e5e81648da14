"""The documentation site builds without a warning, and its pages need no other host."""

from __future__ import annotations

import logging
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from tests.docs.blocks import ROOT
from tools.vocabulary import TERMS

from creditline.methods import names

pytestmark = pytest.mark.slow  # some seconds of work, without training anything
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Links(HTMLParser):
    """The links, the ids and the loaded files of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids.update(value for name, value in attrs if name in ("id", "name") and value)
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if tag in LOADED and values.get(LOADED[tag]) and values.get("rel") != "canonical":
            self.loaded.append(values[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built as `make docs` builds it."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        patch.chdir(ROOT)
        config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
        logging.getLogger("mkdocs").setLevel(logging.WARNING)
        build(config)
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Links]:
    """Every page by its path, read."""
    read = {}
    for path in site.rglob("*.html"):
        read[path.resolve()] = page = Links()
        page.feed(path.read_text("utf-8"))
    return read


def test_links_lead_to_pages_and_places_that_exist(pages):
    missing = []
    for path, page in pages.items():
        for link in page.links:
            target, place = urldefrag(unquote(link))
            if target.startswith(("http:", "https:", "mailto:")) or path.name == "404.html":
                continue
            goal = (path.parent / target).resolve() if target else path
            if not goal.exists() or (place and place not in pages[goal].ids):
                missing.append(f"{path.name}: {link}")
    assert not missing


def test_nothing_is_loaded_from_another_host(site, pages):
    for path, page in pages.items():
        assert not [file for file in page.loaded if "//" in file], path
    for style in site.rglob("*.css"):
        assert "@import" not in style.read_text("utf-8")
        assert "url(http" not in style.read_text("utf-8")


def test_every_method_is_in_the_overview_and_on_a_page(site):
    overview = (site / "methods" / "index.html").read_text("utf-8")
    others = "".join(p.read_text("utf-8") for p in (site / "methods").glob("[!i]*.html"))
    for name in names():
        assert f"<code>{name}</code>" in overview
        assert f"<code>{name}</code>" in others, f"{name} has no page in docs/methods"


def test_the_glossary_lists_every_refused_word(site):
    page = (site / "contributing" / "style.html").read_text("utf-8")
    assert all(f"<td>{word}</td>" in page for word in TERMS)
