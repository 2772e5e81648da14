"""The section of training images: every one once, reachable from its cards and linked back."""

from __future__ import annotations

import dataclasses
import re

import pytest
from tests.report.test_page import HOSTILE, Page

from creditline.report import render
from creditline.report.figures import data_uri
from creditline.report.page import FIRST_IMAGES, FIRST_PLACES, FIRST_VALUES
from creditline.report.training_images import image_key, training_images


def every_hit(trace):
    return [hit for query in trace for hit in (*query.proponents, *query.opponents)]


def entries(text):
    """HTML of each entry by its number."""
    section = text[text.index('id="images"') : text.index('id="meaning"')]
    parts = re.split(r'<li id="t(\d+)">', section)
    return {int(a): b for a, b in zip(parts[1::2], parts[2::2], strict=True)}


def test_every_training_image_is_embedded_once(make_trace):
    trace = make_trace(queries=6, top=12)
    text, hits = render(trace), every_hit(trace)
    assert len({hit.row for hit in hits}) < len(hits)
    for hit in hits:
        assert text.count(data_uri(hit.image)) == 1
    assert len(entries(text)) == len({hit.row for hit in hits})


def test_cards_lead_to_their_entry_and_entries_back_to_their_queries(make_trace):
    trace = make_trace(queries=5, top=10)
    text = render(trace)
    images, every = training_images(trace), entries(text)
    for number, query in enumerate(trace, start=1):
        article = text[text.index(f'id="q{number}"') :].split("</article>")[0]
        for hit in (*query.proponents, *query.opponents):
            image = images[image_key(hit)]
            assert f'<a href="#t{image.number}">' in article
            entry = every[image.number]
            assert data_uri(hit.image) in entry
            assert f'<a href="#q{number}">{number} (rank {hit.rank})</a>' in entry
            ends = image.proponent_of if hit in query.proponents else image.opponent_of
            assert (number, hit.rank, hit.z) in [dataclasses.astuple(place) for place in ends]


def test_proponents_of_most_queries_come_first(make_trace):
    images = list(training_images(make_trace(queries=7, top=10)).values())
    assert [image.number for image in images] == list(range(1, len(images) + 1))
    strength = [
        (len(image.proponent_of), sum(place.z for place in image.proponent_of)) for image in images
    ]
    assert strength == sorted(strength, reverse=True)
    others = [image for image in images if not image.proponent_of]
    assert [len(x.opponent_of) for x in others] == sorted(
        [len(x.opponent_of) for x in others], reverse=True
    )
    for image in images:
        for places in (image.proponent_of, image.opponent_of):
            assert [place.rank for place in places] == sorted(place.rank for place in places)


def test_one_query_image_has_its_training_images_in_the_order_of_its_rankings(make_trace):
    trace = make_trace(queries=1, top=6)
    rows = [image.hit.row for image in training_images(trace).values()]
    assert rows == [hit.row for hit in every_hit(trace)]
    text = render(trace)
    assert '<a href="#q1">the query image (rank 1)</a>' in text
    assert 'class="images compact"' in text
    with_license = render(make_trace(queries=1, top=6, columns=({"license": "CC BY"},)))
    assert 'class="images compact"' not in with_license


def test_metadata_is_listed_and_empty_values_are_not(make_trace):
    columns = {"license": "CC BY 4.0", "year": None, "note": " ", "place": "Zürich"}
    text = render(make_trace(columns=(columns,)))
    for entry in entries(text).values():
        names = re.findall(r"<dt>(.*?)</dt>", entry)
        assert names == ["label", "license", "place"]
        assert "<bdi>CC BY 4.0</bdi>" in entry
        assert "<bdi>Zürich</bdi>" in entry


def test_a_web_address_is_a_link_that_tells_nothing_about_the_page(make_trace):
    address = "https://example.org/a?b=1&c='2'\"<3>"
    page = Page(render(make_trace(columns=({"URL": address, "source_url": "http://b.org"},))))
    links = [link for link in page.all("a") if link.get("class") == "source"]
    images = len(training_images(make_trace()))
    assert [link["href"] for link in links] == [address, "http://b.org"] * images
    assert {link["rel"] for link in links} == {"noopener noreferrer nofollow"}
    assert address not in page.text
    assert page.text.count("source") >= 2 * images


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "file:///etc/x"])
def test_other_schemes_are_text(make_trace, address):
    page = Page(render(make_trace(columns=({"url": address, "source_url": address},))))
    assert address in page.text
    for _, attrs in page.tags:
        for name in ("src", "href"):
            assert attrs.get(name, "#").startswith(("#", "data:image/png;base64,", "data:,"))


def test_hostile_columns_appear_as_text(make_trace):
    hostile = {name: name for name in HOSTILE} | {"a\u202eb\x07c": "d\u202ee\x07f"}
    page = Page(render(make_trace(columns=(hostile,), top=6)))
    assert not {"script", "iframe"} & {tag for tag, _ in page.tags}
    assert "a b c" in page.text
    assert not set(page.text) & set("\u202e\x07")
    assert "{{ 7 * 7 }}" in page.text


def test_long_lists_are_folded(make_trace):
    columns = ({f"column {i}": "x" for i in range(FIRST_VALUES + 4)},)
    trace = make_trace(queries=2 * FIRST_PLACES, top=30, n=60, columns=columns)
    text = render(trace)
    images = training_images(trace)
    assert len(images) > FIRST_IMAGES
    assert f"<summary>{len(images) - FIRST_IMAGES} more training images</summary>" in text
    first, last = entries(text)[1], next(reversed(images.values()))
    more = len(next(iter(images.values())).proponent_of) - FIRST_PLACES
    assert f"<summary>{more} more query images</summary>" in first
    assert "<summary>5 more values</summary>" in first, "a label and the columns"
    assert data_uri(last.hit.image) in text


def test_images_of_two_indexes_are_not_mixed_up(make_trace, png):
    trace = make_trace(queries=2, top=1)
    hit = dataclasses.replace(trace[0].proponents[0], id="other", image=trace[1].image)
    other = dataclasses.replace(trace[1], proponents=(hit,))
    both = training_images(dataclasses.replace(trace, queries=(trace[0], other)))
    assert both[image_key(hit)].hit.image == trace[1].image
    assert both[image_key(trace[0].proponents[0])].hit.image == trace[0].proponents[0].image


def test_similar_images_are_not_called_proponents(make_trace):
    text = render(make_trace(queries=2, causal=False))
    assert "Among the most similar to query image" in text
    assert "Proponent" not in text


def test_without_hits_there_is_no_section(make_trace):
    trace = make_trace(queries=1)
    bare = dataclasses.replace(trace[0], opponents=(), proponents=())
    text = render(dataclasses.replace(trace, queries=(bare,)))
    assert 'id="images"' not in text
    assert "#images" not in text
