"""Values that are not one plain text: lists, objects, missing values, numbers that do not fit."""

from __future__ import annotations

import io
import json
import time

import pytest

from creditline.data import load_images
from creditline.data.metadata_spec import MetadataSpec
from creditline.errors import DataError


@pytest.fixture
def one(write, noise):
    """One image, a.png, with a row of these values."""

    def make(**values):
        row = json.dumps({"file_name": "a.png", **values})
        return write({"a.png": noise(4, 4, 3), "metadata.jsonl": row})

    return make


def test_several_captions_are_a_choice(one):
    root = one(text=["a cat", "a small cat"])
    with pytest.raises(
        DataError, match=r"a\.png has 2 captions in column 'text'.*--captions first"
    ):
        load_images(root)
    assert load_images(root, metadata=MetadataSpec(captions="first")).texts == ("a cat",)
    random = load_images(root, metadata=MetadataSpec(captions="random")).texts
    assert random[0] in ("a cat", "a small cat")
    assert load_images(root, metadata=MetadataSpec(captions="random")).texts == random


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        (["a cat"], "a cat"),
        ([], None),
        ("[a cat] on a mat", "[a cat] on a mat"),
        ("{}", None),
        ("[sic]", "[sic]"),
    ],
)
def test_one_caption_is_taken_as_it_is(one, text, caption):
    if text == "{}":
        with pytest.raises(DataError, match="holds an object"):
            load_images(one(text=text))
    else:
        assert load_images(one(text=text)).texts == (caption,)


def test_a_list_as_python_writes_it_is_a_list(write, noise):
    csv = "file_name,text\na.png,\"['a cat', 'a small cat']\"\n"
    root = write({"a.png": noise(4, 4, 3), "metadata.csv": csv})
    with pytest.raises(DataError, match="2 captions"):
        load_images(root)


def test_lists_and_objects_name_no_contributor_or_class(one):
    for values in ({"contributor": ["Ann", "Bo"]}, {"label": ["cat"]}, {"text": {"en": "a cat"}}):
        with pytest.raises(DataError, match=r"a\.png: column .* holds (a list|an object)"):
            load_images(one(**values))
    assert load_images(one(tags=["x"])).columns == {"tags": ('["x"]',)}


def test_nan_is_a_missing_value_and_no_name(one, write, noise):
    images = load_images(one(contributor=float("nan"), text=float("nan"), label=float("nan")))
    assert (images.contributors, images.texts, images.labels) == ((None,), (None,), (None,))
    for column in ("contributor", "text", "label"):
        csv = f"file_name,{column}\na.png,NaN\n"
        (one() / "metadata.jsonl").unlink()
        root = write({"a.png": noise(4, 4, 3), "metadata.csv": csv})
        with pytest.raises(DataError, match=r"a\.png: column .*'NaN'.*Leave the value empty"):
            load_images(root)
        (root / "metadata.csv").unlink()


@pytest.mark.parametrize("label", [2**53 + 1, 10**18 + 1, 2**63 - 1])
def test_large_class_numbers_are_exact(one, label):
    assert load_images(one(label=label)).labels == (label,)
    assert load_images(one(label=str(label))).labels == (label,)


@pytest.mark.parametrize("label", [2**63, 10**26 - 1, "9" * 5000, "1e999999", "-1", 1.5])
def test_class_numbers_that_do_not_fit_are_refused(one, label):
    with pytest.raises(DataError, match=r"no class labels. Use integers from 0 to 9223372036"):
        load_images(one(label=label))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"file_name": "a.png", "text": "\\ud800"}', r"line 1: the value of 'text' is no valid"),
        ('{"file_name": "a.png", "contributor": "x\\udfff"}', r"line 1: .*'contributor'"),
        (
            '{"file_name": "a.png", "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
            r"line 1: not valid",
        ),
        ('{"file_name": "a.png", "file_name": "b.png"}', r"line 1: two columns are called"),
        ('{"file_name": "a.png", "x": ' + "9" * 5000 + "}", r"line 1: not valid JSON"),
    ],
)
def test_damaged_lines_are_named(write, noise, line, message):
    root = write({"a.png": noise(4, 4, 3), "metadata.jsonl": line})
    with pytest.raises(DataError, match=rf"metadata\.jsonl, {message}"):
        load_images(root)


def test_impossible_dates_of_parquet_are_named_by_row(write, noise):
    import pyarrow
    import pyarrow.parquet

    stream = io.BytesIO()
    dates = pyarrow.array([0, 2**62], pyarrow.timestamp("us"))
    pyarrow.parquet.write_table(
        pyarrow.table({"file_name": ["a.png", "b.png"], "x": dates}), stream
    )
    images = {f"{x}.png": noise(4, 4, 3, seed=i) for i, x in enumerate("ab")}
    with pytest.raises(DataError, match=r"metadata\.parquet cannot be read .*after row 1"):
        load_images(write({**images, "metadata.parquet": stream.getvalue()}))


def test_templates_name_columns_with_any_character(write, noise):
    csv = "file_name,x.y,z[0]\na.png,1,2\n"
    root = write({"a.png": noise(4, 4, 3), "metadata.csv": csv})
    spec = MetadataSpec(prompt_template="{x.y} and {z[0]} {{x}}")
    assert load_images(root, metadata=spec).texts == ("1 and 2 {x}",)


def test_many_columns_take_linear_time(write, noise):
    csv = "file_name," + ",".join(f"c{i}" for i in range(20_000)) + "\na.png" + "," * 20_000
    root = write({"a.png": noise(4, 4, 3), "metadata.csv": csv})
    start = time.monotonic()
    assert len(load_images(root).columns) == 20_000
    assert time.monotonic() - start < 5
