"""Damaged metadata and zip files are refused, or read."""

from __future__ import annotations

import io
import itertools
import json
import random
import zipfile

import pytest
from tests.data.conftest import encode
from tests.mutate import count_refusals, mutate

from creditline.data import load_images
from creditline.data.metadata_spec import MetadataSpec
from creditline.data.selection import SelectionSpec

ROWS = [
    {"file_name": f"p{i}.png", "contributor": f"Zoë {i % 2}", "text": f"a {i}", "label": i % 2}
    for i in range(3)
]
TOKENS = [b"", b"../x", b"\0", b"x" * 1000, b"NaN", b"-1", b"1e999", b'"', b",", b"\n", b"[", b"{"]
TOKENS += [b"9007199254740993", b"\\ud800", b"[" * 2000, b"\\", "é".encode(), b"p1.png"]


def tables():
    import pyarrow
    import pyarrow.parquet

    head = ",".join(ROWS[0])
    yield "csv", "\n".join([head, *(",".join(map(str, row.values())) for row in ROWS)]).encode()
    yield "jsonl", "\n".join(map(json.dumps, ROWS)).encode()
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), stream)
    yield "parquet", stream.getvalue()


def damage(data, rng):
    if rng.random() < 0.5:
        return mutate(data, rng)
    at = rng.randrange(len(data))
    return data[:at] + rng.choice(TOKENS) + data[at + rng.randrange(8) :]


def read_all(root, noise, n):
    """Damage each kind of metadata file and a zip file n times in all; return the refusals."""
    rng, refused = random.Random(5), 0
    images = {f"p{i}.png": encode(noise(4, 4, 3, seed=i)) for i in range(3)}
    for name, data in images.items():
        (root / name).write_bytes(data)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in images.items():
            archive.writestr(name, data)
    kinds = [*tables(), ("zip", stream.getvalue())]
    for kind, data in kinds:
        target = root / f"metadata.{kind}" if kind != "zip" else root.parent / "a.zip"

        def read(damaged, target=target, kind=kind):
            target.write_bytes(damaged)
            spec = MetadataSpec(prompt_template=rng.choice((None, None, "{label} by {x.y}")))
            choice = SelectionSpec(skip_bad=rng.random() < 0.5)
            repr(load_images(target if kind == "zip" else root, metadata=spec, selection=choice))

        inputs = (damage(data, rng) for _ in itertools.repeat(None, n // len(kinds)))
        refused += count_refusals(inputs, read)
        target.unlink()
    return refused


@pytest.fixture
def root(tmp_path):
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


@pytest.mark.slow
def test_damaged_metadata_is_refused_or_read(root, noise):
    assert read_all(root, noise, 200) > 50


@pytest.mark.long
def test_ten_thousand_damaged_metadata_files_are_refused_or_read(root, noise):
    assert read_all(root, noise, 10_000) > 2500
