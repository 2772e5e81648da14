"""An index that cannot be written to is traced and searched, and says that nothing is kept."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.processes import tree

import creditline as cl
from creditline.indexing import fit_folder
from creditline.notice import Notice


@pytest.fixture
def index(tiny_images, tmp_path):
    index = cl.index(None, tiny_images, method="pixel-centered", out=tmp_path / "index")
    index.trace(tiny_images, top=3)
    return index


@pytest.fixture
def deny(monkeypatch):
    """Take the permission to write, or to read some files, as another user would see it."""
    unreadable: set[Path] = set()
    access = os.access

    def limited(path, mode):
        if mode & os.W_OK or Path(path) in unreadable:
            return False
        return access(path, mode)

    monkeypatch.setattr(fit_folder.os, "access", limited)
    monkeypatch.setattr(fit_folder, "_scratch", {})
    return unreadable


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("has_results", [True, False])
def test_it_answers_the_same_without_writing(index, tiny_images, deny, keep, has_results):
    expected = [(hit.name, hit.score) for hit in index.trace(tiny_images, top=3)[0].proponents]
    if not has_results:
        shutil.rmtree(index.path / "fitted")
    before = tree(index.path)
    with pytest.warns(Notice, match=r"You may not write to .* is not kept"):
        result = cl.open_index(index.path, keep=keep).trace(tiny_images, top=3)
    hits = [(hit.name, hit.score) for hit in result[0].proponents]
    assert [name for name, _ in hits] == [name for name, _ in expected]
    np.testing.assert_allclose([s for _, s in hits], [s for _, s in expected], rtol=1e-4)
    with pytest.warns(Notice, match="not kept"):
        hits = cl.open_index(index.path).search(tiny_images.subset([0]), top=3)
    assert len(hits.rows[0]) == 3
    assert cl.open_index(index.path).info()["images"] == 12
    assert tree(index.path) == before


def test_what_the_owner_stored_is_used(index, tiny_images, deny, monkeypatch):
    monkeypatch.setattr(
        "creditline.indexing.factor_cache._write", lambda *_: pytest.fail("computed again")
    )
    with pytest.warns(Notice):
        cl.open_index(index.path).trace(tiny_images, top=3)


@pytest.mark.slow
def test_damaged_results_are_computed_again_elsewhere(index, tiny_images, deny):
    expected = [(hit.name, hit.score) for hit in index.trace(tiny_images, top=3)[0].proponents]
    files = [path for path in index.path.glob("fitted/*/**/*") if path.is_file()]
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        before = tree(index.path)
        fit_folder._scratch.clear()
        with pytest.warns(Notice, match="computed again"):
            result = cl.open_index(index.path).trace(tiny_images, top=3)
        assert [(hit.name, hit.score) for hit in result[0].proponents] == expected
        assert tree(index.path) == before
        path.write_bytes(content)


def test_files_of_another_user_are_computed_again(index, tiny_images, monkeypatch):
    """Files that only their owner may read, in a folder that everybody may write to."""
    hidden = {path for path in index.path.rglob("fitted/*/self-influence-*") if path.is_file()}
    assert hidden
    access = os.access
    monkeypatch.setattr(
        fit_folder.os, "access", lambda path, mode: Path(path) not in hidden and access(path, mode)
    )
    monkeypatch.setattr(fit_folder, "_scratch", {})
    before = tree(index.path)
    with pytest.warns(Notice, match="You may not read all files"):
        cl.open_index(index.path).trace(tiny_images, top=3)
    assert tree(index.path) == before


def test_a_link_in_place_of_results_is_not_followed(index, tiny_images, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").touch()
    shutil.rmtree(index.path / "fitted")
    (index.path / "fitted").symlink_to(victim)
    with pytest.warns(Notice, match="leads out of the index"):
        cl.open_index(index.path).trace(tiny_images, top=3)
    assert [path.name for path in victim.iterdir()] == ["precious"]
