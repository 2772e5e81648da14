from __future__ import annotations

import io
import json
import unicodedata

import pytest

from creditline.data import load_images
from creditline.data.metadata_spec import MetadataSpec
from creditline.data.selection import SelectionSpec
from creditline.errors import DataError

CSV = 'file_name,contributor,text,license\na.png,Ann ,"red, round",CC BY\nb.png,,,\n'


@pytest.fixture
def pair(write, noise):
    """Two images, a.png and b.png, and the metadata given."""

    def make(**metadata: str | bytes):
        images = {f"{name}.png": noise(4, 4, 3, seed=i) for i, name in enumerate("ab")}
        return write(images | {k.replace("_", "."): v for k, v in metadata.items()})

    return make


def parquet(rows: list[dict]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), stream)
    return stream.getvalue()


def test_csv(pair):
    images = load_images(pair(metadata_csv=CSV))
    assert images.contributors == ("Ann", None)
    assert images.texts == ("red, round", None)
    assert images.labels == (None, None)
    assert dict(images.columns) == {"license": ("CC BY", None)}


def test_csv_jsonl_and_parquet_agree(pair, write, tmp_path):
    rows = [
        {"file_name": "a.png", "contributor": "Ann", "text": "red, round", "license": "CC BY"},
        {"file_name": "b.png", "contributor": None, "text": None, "license": None},
    ]
    texts = {"metadata.jsonl": "\n".join(map(json.dumps, rows)), "metadata.parquet": parquet(rows)}
    plain = load_images(pair(metadata_csv=CSV))
    for name, content in texts.items():
        (tmp_path / "images/metadata.csv").unlink(missing_ok=True)
        write({name: content})
        images = load_images(tmp_path / "images")
        assert images.fingerprint == plain.fingerprint
        assert images.contributors == plain.contributors
        assert images.columns == plain.columns
        (tmp_path / "images" / name).unlink()


def test_values_stay_text(pair):
    csv = "file_name,year,score\na.png,007,1.50\nb.png,8,\n"
    assert load_images(pair(metadata_csv=csv)).columns == {
        "year": ("007", "8"),
        "score": ("1.50", None),
    }


def test_json_values_that_are_not_text_become_json(pair):
    lines = '{"file_name": "a.png", "tags": ["x", "é"], "n": 3}\n\n{"file_name": "b.png"}\n'
    columns = load_images(pair(metadata_jsonl=lines)).columns
    assert columns == {"tags": ('["x", "é"]', None), "n": ("3", None)}


def test_excel_byte_order_mark_quotes_and_line_breaks(pair):
    csv = '\ufefffile_name,text\r\na.png,"two\r\nlines ""quoted"""\r\n\r\nb.png,x\r\n'
    assert load_images(pair(metadata_csv=csv)).texts == ('two\r\nlines "quoted"', "x")


def test_files_below_and_beside_subfolders(write, noise, zipped):
    source = write(
        {
            "train/x/1.png": noise(4, 4, 3, seed=1),
            "train/2.png": noise(4, 4, 3, seed=2),
            "test/1.png": noise(4, 4, 3, seed=3),
            "train/metadata.csv": "file_name,text\nx/1.png,one\n./2.png,two\n",
            "test/metadata.jsonl": '{"file_name": "1.png", "contributor": "Bo"}',
        }
    )
    for place in (source, zipped(source)):
        images = load_images(place)
        assert images.names == ("test/1.png", "train/2.png", "train/x/1.png")
        assert images.texts == (None, "two", "one")
        assert images.contributors == ("Bo", None, None)
    assert load_images(zipped(source) / "train").texts == ("two", "one")


def test_a_named_file_counts_whatever_its_ending(pair):
    source = pair(metadata_csv="file_name,text\na.png,A\nb.icon,B\n")
    (source / "b.png").rename(source / "b.icon")
    assert load_images(source).names == ("a.png", "b.icon")


def test_row_order_does_not_matter(pair):
    forth = load_images(pair(metadata_csv="file_name,text\na.png,A\nb.png,B\n"))
    back = load_images(pair(metadata_csv="file_name,text\nb.png,B\na.png,A\n"))
    assert forth.fingerprint == back.fingerprint


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_and_separators_of_another_system(write, noise, form):
    name = unicodedata.normalize("NFD" if form == "NFC" else "NFC", "café.png")
    csv = "file_name,text\nin\\" + unicodedata.normalize(form, "café.png") + ",x\n"
    assert load_images(write({f"in/{name}": noise(4, 4, 3), "metadata.csv": csv})).texts == ("x",)


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("file_name,text\na.png,x\nb.png,y\nc.png,z\n", r"1 metadata rows .*c\.png \(.*line 4\)"),
        ("file_name,text\na.png,x\n", r"1 images have no row in metadata\.csv: b\.png"),
        ("file_name,text\na.png,x\nb.png,y\na.png,z\n", r"a\.png is described twice: .*2.*line 4"),
        ("file_name,text\na.png,x\n,y\n", r"line 3: file_name is empty"),
        ("filename,text\na.png,x\n", r"no column 'file_name'; its columns: 'filename', 'text'"),
        ("file_name;text\na.png;x\n", r"'file_name;text'.*with commas"),
        ("", r"no column 'file_name'; its columns: none"),
        ("file_name,text,text\na.png,x,y\n", r"two columns called text"),
        ("file_name,text\na.png,x, y\nb.png,z\n", r"line 2: 3 fields under 2 columns"),
        ('file_name,text\na.png,"x\n', r"not valid csv"),
        (b"file_name,text\na.png,caf\xe9\n", r"not UTF-8"),
        ("file_name,text\n../images/a.png,x\n../outside.png,y\n", r"outside\.png"),
    ],
)
def test_bad_csv(pair, csv, message):
    with pytest.raises(DataError, match=message):
        load_images(pair(metadata_csv=csv))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metadata.jsonl", '{"file_name": "a.png"}\n{oops\n', r"line 2: not valid JSON"),
        ("metadata.jsonl", "[1]\n", r"line 1: expected one JSON object"),
        ("metadata.jsonl", '{"file": "a.png"}\n', r"no column 'file_name'"),
        ("metadata.parquet", b"PAR1 no more", r"cannot be read as Parquet"),
    ],
)
def test_bad_jsonl_and_parquet(pair, write, name, content, message):
    pair()
    with pytest.raises(DataError, match=message):
        load_images(write({name: content}))


def test_long_lists_are_cut_short(pair):
    rows = "".join(f"gone{i}.png,x\n" for i in range(20))
    with pytest.raises(DataError, match=r"20 metadata rows .*gone4\.png \S+ line 6\) and 15 more"):
        load_images(pair(metadata_csv="file_name,text\n" + rows))


def test_two_kinds_in_one_folder(pair):
    with pytest.raises(DataError, match=r"metadata\.csv and metadata\.jsonl lie in one folder"):
        load_images(pair(metadata_csv=CSV, metadata_jsonl='{"file_name": "a.png"}'))


def test_skip_bad_lists_what_does_not_match(pair):
    images = load_images(
        pair(metadata_csv="file_name,text\na.png,x\nc.png,y\n"),
        selection=SelectionSpec(skip_bad=True),
    )
    assert images.names == ("a.png",)
    assert [reason for _, reason in images.skipped] == [
        "a metadata row without a file",
        "an image without a metadata row",
    ]
    assert images.skipped[0][0].startswith("c.png")
    with pytest.raises(DataError, match="no image that its metadata describes"):
        load_images(
            pair(metadata_csv="file_name,text\nc.png,y\n"), selection=SelectionSpec(skip_bad=True)
        )


def test_columns_under_other_names(pair):
    source = pair(metadata_csv="file_name,artist,caption,text\na.png,Ann,A,x\nb.png,Bo,B,y\n")
    images = load_images(
        source, metadata=MetadataSpec(contributor_column="artist", text_column="caption")
    )
    assert images.contributors == ("Ann", "Bo")
    assert images.texts == ("A", "B")
    assert dict(images.columns) == {"text": ("x", "y")}
    with pytest.raises(DataError, match=r"no column 'author'; its columns: artist, caption, text"):
        load_images(source, metadata=MetadataSpec(contributor_column="author"))
