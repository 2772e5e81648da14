"""Killed at any change of the file system, a command that runs again ends with the same index."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.kills import Death, Killed, points

import creditline as cl
from creditline.data.image_set import ImageSet
from creditline.errors import DataError
from creditline.indexing.purging import PENDING
from creditline.manifest import NAME
from creditline.notice import Notice

MOST = 12
"""Points of one test; the long form tries all."""


@pytest.fixture
def images() -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    return ImageSet.from_images(pixels, names=[f"name-of-{i:02d}.png" for i in range(12)])


@pytest.fixture
def base(images, tmp_path) -> Path:
    """An index of eight images with results of fitting."""
    index = cl.index(
        None, images.subset(range(8)), method="pixel-centered", out=tmp_path / "base", shard_rows=4
    )
    index.trace(images.subset([0]), top=2)
    return index.path


def state(folder: Path, query: ImageSet) -> tuple:
    """What an index answers, and the names of its files apart from random ones."""
    index = cl.open_index(folder)
    scores = index.trace(query, top=3)[0].proponents
    # A table that was committed twice has another version, of which there is one record.
    names = [
        re.sub(r"table-\d+", "table", str(path.relative_to(folder)))
        for path in folder.rglob("*")
        if path.is_file() and "images.lance" not in path.parts
    ]
    request = index.manifest.request
    return index.digest(), [(hit.name, hit.score) for hit in scores], request, sorted(names)


def add(folder: Path, images: ImageSet) -> None:
    cl.open_index(folder).add(images.subset(range(8, 12)))


def remove(folder: Path, images: ImageSet) -> None:
    cl.open_index(folder).remove(["name-of-02.png", "name-of-05.png"])


def purge(folder: Path, images: ImageSet) -> None:
    cl.open_index(folder).remove(["name-of-02.png", "name-of-05.png"], purge=True)


def overwrite(folder: Path, images: ImageSet) -> None:
    part = images.subset(range(5))
    cl.index(None, part, method="pixel-dot", out=folder, overwrite=True, shard_rows=4)


def again(act: Callable, folder: Path, images: ImageSet) -> None:
    """The same command once more; a removal that was done already finds nothing."""
    is_done = False
    if act in (remove, purge):
        index = cl.open_index(folder)
        is_done = index.n == 6 and PENDING not in index.manifest.facts
    refused = pytest.raises(DataError, match="has no image") if is_done else nullcontext()
    with warnings.catch_warnings(), refused:
        warnings.simplefilter("ignore", Notice)
        act(folder, images)


def check(act: Callable, base: Path, images: ImageSet, most: int) -> None:
    query = images.subset([1])
    done = base.with_name("done")
    shutil.copytree(base, done)
    with pytest.MonkeyPatch.context() as patch:
        count = Death(patch)
        act(done, images)
    expected = state(done, query)
    before = (cl.open_index(base).digest(), expected[0])
    assert count.count > 5
    for point in points(count.count, most):
        folder = base.with_name(f"killed-{point}")
        shutil.copytree(base, folder)
        with pytest.MonkeyPatch.context() as patch:
            Death(patch, point)
            with pytest.raises(Killed):
                act(folder, images)
        if act is not overwrite:
            assert cl.open_index(folder).digest() in before, "a reader sees the old or the new"
        with pytest.MonkeyPatch.context() as patch:
            Death(patch)
            again(act, folder, images)
        assert state(folder, query) == expected, f"killed at {point} of {count.count}"
        if act is purge:
            data = b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
            assert b"name-of-02" not in data, f"killed at {point} of {count.count}"
            assert b"name-of-07" in data
        assert not (folder / ".creditline-lock").exists()
        shutil.rmtree(folder)


ACTS = pytest.mark.parametrize("act", [add, remove, purge, overwrite])


@pytest.mark.slow
@ACTS
def test_some_points(act, base, images):
    check(act, base, images, MOST)


@pytest.mark.long
@ACTS
def test_all_points(act, base, images):
    check(act, base, images, 10_000)


def test_a_removal_that_was_purged_late_is_told(base, images, recwarn):
    """Killed when the manifest names the new images, and their former versions are still there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "creditline.indexing.store.Store.clean", lambda self: (_ for _ in ()).throw(Killed())
        )
        with pytest.raises(Killed):
            purge(base, images)
    assert cl.open_index(base).n == 6
    assert b"name-of-02" not in (base / NAME).read_bytes()
    with pytest.warns(Notice, match=r"A purge of .* was interrupted; it is finished now"):
        purge(base, images)
    assert cl.open_index(base).n == 6
    data = b"".join(p.read_bytes() for p in base.rglob("*") if p.is_file())
    assert b"name-of-02" not in data
    with pytest.raises(DataError, match="has no image"):
        purge(base, images)


def test_the_next_change_finishes_a_purge(base, images):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "creditline.indexing.store.Store.clean", lambda self: (_ for _ in ()).throw(Killed())
        )
        with pytest.raises(Killed):
            purge(base, images)
    with pytest.warns(Notice, match="finished now"):
        add(base, images)
    assert cl.open_index(base).n == 10
    assert b"name-of-02" not in b"".join(p.read_bytes() for p in base.rglob("*") if p.is_file())


def test_a_purge_deletes_what_cannot_be_read(base, images):
    """A power cut leaves versions that no manifest named, and files that Lance had begun."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "creditline.indexing.store.Store.clean", lambda self: (_ for _ in ()).throw(Killed())
        )
        with pytest.raises(Killed):
            purge(base, images)
    table = base / "images.lance"
    for path in sorted((table / "_versions").glob("*.manifest"))[1:]:
        path.write_bytes(b"")
    (table / "data" / ".tmpabcdef").write_bytes(b"name-of-02")
    with pytest.warns(Notice, match="finished now"):
        add(base, images)
    assert cl.open_index(base).n == 10
    assert b"name-of-02" not in b"".join(p.read_bytes() for p in base.rglob("*") if p.is_file())
    assert not list(table.rglob(".tmp*"))


def test_a_first_version_that_cannot_be_read_is_committed_again(images, tmp_path):
    """A power cut leaves a version that the manifest did not name yet."""
    build = partial(cl.index, None, images, method="pixel-centered", out=tmp_path / "i")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "creditline.indexing.store.Store._seal", lambda *_: (_ for _ in ()).throw(Killed())
        )
        with pytest.raises(Killed):
            build()
    (version,) = (tmp_path / "i" / "images.lance" / "_versions").glob("*.manifest")
    for damage in (b"", version.read_bytes()[:-20], bytes(400)):
        folder = shutil.copytree(tmp_path / "i", tmp_path / f"damaged-{len(damage)}")
        next(folder.rglob("*.manifest")).write_bytes(damage)
        index = build(out=folder)
        assert index.n == 12
        assert len(list((folder / "images.lance" / "_transactions").iterdir())) == 1
