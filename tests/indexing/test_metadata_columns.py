"""Further metadata of training images, from the image set over the index to the trace."""

from __future__ import annotations

import json

import pytest

import creditline as cl
from creditline.data.image_set import ImageSet
from creditline.errors import DamageError
from creditline.indexing.metadata_columns import read_columns, write_columns
from creditline.indexing.ranker import limit_columns
from creditline.records.hit import LONGEST_VALUE, MOST_COLUMNS
from creditline.trace import Trace

COLUMNS = {"license": ["CC BY", None, "MIT"], "url": ["https://example.org/ä", "", "x"]}


def test_columns_read_back_equal(tmp_path):
    for i in range(3):
        read = read_columns(write_columns(COLUMNS, i), tmp_path)
        assert read == {name: values[i] for name, values in COLUMNS.items()}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "1", "{", '{"a": 1}', '{"a": ["b"]}', '{"a": "\\ud800"}', "[" * 100_000, None],
    ids=lambda text: f"{text!r:.20}",
)
def test_other_text_in_a_table_is_damage(tmp_path, text):
    with pytest.raises(DamageError, match=r"images\.lance is damaged.*--overwrite"):
        read_columns(text, tmp_path / "images.lance")


def test_a_trace_holds_few_and_short_columns():
    long = {f"{i}": "x" * (LONGEST_VALUE + i) for i in range(MOST_COLUMNS + 5)} | {"y": None}
    limited = limit_columns(long)
    assert list(limited) == list(long)[:MOST_COLUMNS]
    assert limited["0"] == long["0"]
    assert {len(value) for value in limited.values()} == {LONGEST_VALUE}
    assert limited["1"].endswith("x…")
    assert list(limit_columns({"n" * 3000: "v"})) == ["n" * (LONGEST_VALUE - 1) + "…"]


@pytest.mark.slow
def test_hits_have_the_columns_of_their_image(tiny_images, tmp_path):
    few = tiny_images.subset(range(6))
    pixels = [few.image(i) for i in range(6)]
    columns = {
        "license": ["CC BY", None, "MIT", "", "CC0", "GPL"],
        "note": [f"{'long ' * 1000}{i}" for i in range(6)],
    }
    images = ImageSet.from_images(pixels, columns=columns)
    index = cl.index(None, images, method="pixel-dot", out=tmp_path / "index")
    trace = index.trace(images.subset([0, 3]), top=6)
    hits = [hit for query in trace for hit in (*query.proponents, *query.opponents)]
    assert {hit.row for hit in hits} == set(range(6))
    for hit in hits:
        assert hit.columns["license"] == columns["license"][hit.row]
        assert len(hit.columns["note"]) == LONGEST_VALUE
    frame = trace.to_pandas()
    assert [json.loads(text) for text in frame["columns"]] == [hit.columns for hit in hits]
    assert Trace.from_json(trace.to_json(tmp_path / "trace.json")) == trace
