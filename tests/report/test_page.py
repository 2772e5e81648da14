from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import pytest

from creditline.errors import DataError, NumericsError, SettingsError
from creditline.report import fragment, render, write

VOID = {"meta", "link", "img", "br"}
HOSTILE = (
    "<script>alert(1)</script>",
    "\"double\" & 'single' </style></title>",
    "<img src=x onerror=alert(1)>",
    "عربي מימין",
    "🎨👩‍🎨",
    "x" * 300,
    "javascript:alert(1)//{{ 7 * 7 }}",
)


class Page(HTMLParser):
    """Collects tags and text, and checks that tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open[-1] in ("li", "p") and self.open[-1] != tag:
            self.open.pop()  # their end tags may be left out
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data if "style" not in self.open else ""

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def test_the_page_asks_for_nothing_from_outside(make_trace):
    text = render(make_trace(contributors=(*HOSTILE, None), names=HOSTILE, texts=HOSTILE))
    page = Page(text)
    assert not {"script", "iframe", "object", "embed", "base", "form"} & {t for t, _ in page.tags}
    for _, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href", "srcset", "data", "action"):
            if name in attrs:
                assert attrs[name].startswith(("data:", "#"))
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a for a in page.all("meta") if a.get("http-equiv"))["content"]
    assert "default-src 'none'" in policy
    assert "img-src data:" in policy
    assert "script-src" not in policy


def test_hostile_names_appear_as_text(make_trace):
    page = Page(render(make_trace(contributors=(*HOSTILE, None), texts=HOSTILE, top=20)))
    for name in HOSTILE:
        if len(name) < 40:
            assert name in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "None" not in page.text


def test_every_hit_is_shown_with_image_name_and_score(make_trace):
    trace = make_trace(queries=3, top=12)
    page = Page(render(trace))
    images, cards = page.all("img"), page.all("use")
    assert len(images) == 3 * 2
    assert len(cards) == 3 * 24
    labels = {image["aria-label"] for image in page.all("svg")}
    for query in trace:
        for hit in (*query.proponents, *query.opponents):
            assert f"Training image {hit.row:03d}.png" in labels
    thumbs = [image for image in images if image["alt"] == ""]
    assert len(thumbs) == 3  # each inside a link with a label of its own
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    for link in (*page.all("a"), *cards):
        assert link["href"].removeprefix("#") in ids


def test_every_proponent_bar_starts_where_every_opponent_bar_ends(make_trace):
    page = Page(render(make_trace(queries=1, top=5)))
    zero = {a["style"] for a in page.all("ol") if "cards" in a.get("class", "")}
    assert len(zero) == 1
    zero = float(zero.pop().removeprefix("--zero:").removesuffix("%"))
    hits = [a for a in page.all("i") if a["class"] in ("pos", "neg")]
    for attrs in hits[:5]:
        assert attrs["class"] == "pos"
        assert float(attrs["style"].split("left:")[1].split("%")[0]) == pytest.approx(zero)
    for attrs in hits[-5:]:
        left, width = (float(part.split(":")[1].rstrip("%")) for part in attrs["style"].split(";"))
        assert attrs["class"] == "neg"
        assert left + width == pytest.approx(zero, abs=0.15)


def test_small_images_are_pixelated_and_large_ones_are_not(make_trace):
    assert "image-rendering:pixelated" in render(make_trace(side=16))
    assert "image-rendering:pixelated" not in render(make_trace(side=96))


def test_settings_and_limits_are_on_the_page(make_trace):
    page = Page(render(make_trace()))
    for text in ("plan.timesteps", "D-TRAK", "τ = φᵀ", "Not a probability", "0.15 to 0.35"):
        assert text in page.text
    assert "Not a legal claim" in page.text
    assert "is not copying" in page.text


def test_similarity_is_never_called_debt(make_trace):
    text = Page(render(make_trace(queries=2, causal=False))).text.lower()
    assert "most similar to" in text
    assert "owe" not in text
    assert "proponent" not in text
    assert "credit" not in text.replace("creditline", "")


def test_without_contributors_there_is_no_empty_table(make_trace):
    page = Page(render(make_trace(contributors=(None,))))
    assert "Credit by contributor" not in page.text
    assert "unknown" not in page.text
    assert "Credit by label" in page.text


def test_sixteen_queries_with_ten_hits_stay_small(make_trace):
    trace = make_trace(queries=16, top=10, n=400)
    images = {
        hit.row: hit.image for query in trace for hit in (*query.proponents, *query.opponents)
    }
    text = render(trace)
    assert len(text.encode()) - 4 / 3 * sum(map(len, images.values())) < 500_000


def test_one_image_needs_no_overview(make_trace):
    page = Page(render(make_trace(queries=1)))
    assert page.all("nav") == []
    assert "All query images" not in page.text


def test_lists_may_be_empty(make_trace):
    trace = make_trace(queries=1)
    bare = dataclasses.replace(trace[0], opponents=(), proponents=(), totals={}, details={})
    page = Page(render(dataclasses.replace(trace, queries=(bare,))))
    assert "No training image scores above zero" in page.text


def test_what_cannot_be_shown_is_refused_before_a_file_exists(make_trace, tmp_path):
    with pytest.raises(SettingsError, match="none"):
        write(make_trace(queries=0), tmp_path / "r.html")
    trace = make_trace(queries=1)
    broken = dataclasses.replace(trace, queries=(dataclasses.replace(trace[0], image=b"GIF89a"),))
    with pytest.raises(DataError, match="PNG"):
        write(broken, tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("score", [float("inf"), float("nan")])
def test_a_score_that_is_not_finite_is_refused_before_a_file_exists(make_trace, tmp_path, score):
    trace = make_trace()
    query = trace.queries[0]
    bad = dataclasses.replace(query.proponents[0], score=score)
    query = dataclasses.replace(query, proponents=(bad, *query.proponents[1:]))
    with pytest.raises(NumericsError, match="not finite"):
        write(dataclasses.replace(trace, queries=(query,)), tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


def test_the_fragment_is_a_fragment(make_trace):
    text = fragment(make_trace(queries=10))
    assert text.startswith("<div")
    assert "<style" not in text
    assert "2 more query images" in Page(text).text


def test_the_notebook_form_shows_images_and_escapes_names(make_trace):
    trace = make_trace(names=("<script>{}</script>",), contributors=("<b>Ada</b>",))
    page = trace._repr_html_()
    assert page.count("<img") == 2 * (1 + 3)
    assert "<script>" not in page
    assert "<b>Ada" not in page


def test_an_existing_report_is_replaced_only_when_asked(make_trace, tmp_path):
    trace, path = make_trace(), tmp_path / "report.html"
    path.write_text("precious")
    with pytest.raises(SettingsError, match="exists"):
        trace.to_html(path)
    assert path.read_text() == "precious"
    assert trace.to_html(path, overwrite=True).read_text("utf-8") == render(trace)
