from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from joblib import Parallel, delayed

from creditline.data import ImageSet, load_images, pixel_array
from creditline.data.files import open_source
from creditline.data.image_spec import ImageSpec
from creditline.data.selection import SelectionSpec
from creditline.errors import DataError


def rows(images, positions):
    return images.array(positions).tolist()


@pytest.mark.parametrize("held", [0, 2, 6])
def test_decoding_again_gives_the_same_pixels(folder, zipped, held):
    everything = load_images(folder)
    for source in (folder, zipped(folder)):
        images = load_images(source, memory=held * 6 * 8 * 3)
        assert images.ids == everything.ids
        np.testing.assert_array_equal(images.array(), everything.array())
        order = [5, 0, 3, 0]
        part = images.subset(order).subset([3, 2, 0])
        np.testing.assert_array_equal(part.array(), everything.array([0, 3, 5]))


def test_a_file_changed_or_gone_since_loading_is_noticed(folder, noise, write):
    images = load_images(folder, memory=0)
    write({"cat/1.png": noise(6, 8, 3, seed=99)})
    with pytest.raises(DataError, match=r"cat/1\.png has changed"):
        images.array()
    (folder / "cat/1.png").unlink()
    with pytest.raises(DataError, match=r"cat/1\.png: cannot be read"):
        images.array()


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_worker_processes_read_by_themselves(folder, zipped, kind, monkeypatch):
    monkeypatch.chdir(folder.parent)
    source = folder.name if kind == "folder" else zipped(folder).name
    images = load_images(source, memory=0)
    images.array([0])  # the zip file is open here while others open it
    tasks = [[0, 5], [3], [1, 2]]
    workers = Parallel(n_jobs=2, backend="loky")
    result = workers(delayed(ImageSet.array)(images, task) for task in tasks)
    assert [pixels.tolist() for pixels in result] == [rows(images, task) for task in tasks]


def test_a_forked_process_opens_the_zip_file_for_itself(folder, zipped, monkeypatch):
    source = open_source(zipped(folder))
    mine = source._archive()
    assert source._archive() is mine
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert source._archive() is not mine


def test_large_sets_travel_without_their_pixels(folder, monkeypatch, travel):
    images = load_images(folder)
    full = len(pickle.dumps(images))
    monkeypatch.setattr(pixel_array, "CARRIED", 2 * 6 * 8 * 3)
    light = len(pickle.dumps(images))
    assert full - light >= 4 * 6 * 8 * 3 - 64
    np.testing.assert_array_equal(travel(images).array(), images.array())


def test_corrupt_image_in_the_middle(folder, write):
    write({"cat/1.png": b"\x89PNG\r\n\x1a\n but no more"})
    with pytest.raises(DataError, match=r"cat/1\.png: (corrupt|not an image)"):
        load_images(folder)
    images = load_images(folder, selection=SelectionSpec(skip_bad=True))
    assert len(images) == 5
    assert [name for name, _ in images.skipped] == ["cat/1.png"]
    assert "cat/1.png" not in images.names


def test_skipped_images_do_not_shift_what_belongs_to_the_others(write, noise):
    source = write(
        {
            "a.png": noise(4, 4, 3, seed=1),
            "b.png": b"broken",
            "c.png": noise(4, 4, 3, seed=3),
            "metadata.csv": "file_name,text,contributor\na.png,A,Ann\nb.png,B,Bo\nc.png,C,Cy\n",
        }
    )
    images = load_images(source, selection=SelectionSpec(skip_bad=True), memory=0)
    assert images.texts == ("A", "C")
    assert images.contributors == ("Ann", "Cy")
    np.testing.assert_array_equal(images.array()[1], noise(4, 4, 3, seed=3))


def test_nothing_left_after_skipping(write):
    source = write({"a.png": b"x", "b.png": b"y"})
    with pytest.raises(DataError, match=r"None of 2 images.*a\.png"):
        load_images(source, selection=SelectionSpec(skip_bad=True))


def test_limit_counts_good_images(folder, write):
    write({"cat/0.png": b"broken"})
    images = load_images(folder, selection=SelectionSpec(limit=2, skip_bad=True))
    assert images.names == ("cat/1.png", "cat/2.png")
    assert len(load_images(folder, selection=SelectionSpec(limit=100, skip_bad=True))) == 5


def test_mixed_sizes_say_which_and_what_to_do(folder, write, noise):
    write({"zebra/0.png": noise(5, 9, 3), "zebra/1.png": noise(5, 9, 3, seed=1)})
    write({"zebra/2.png": b"a bad one does not hide the sizes"})
    with pytest.raises(DataError) as caught:
        load_images(folder)
    message = str(caught.value)
    assert "8x6: 6 (such as cat/0.png)" in message
    assert "9x5: 2 (such as zebra/0.png)" in message
    assert "size=6" in message
    assert load_images(folder, ImageSpec(size=6), selection=SelectionSpec(skip_bad=True)).shape == (
        3,
        6,
        6,
    )


def test_crop_none_can_skip_what_does_not_fit(folder, write, noise):
    write({"cat/1.png": noise(8, 8, 3)})
    with pytest.raises(DataError, match=r"cat/0\.png is 8x6"):
        load_images(folder, ImageSpec(size=8, crop="none"))
    images = load_images(
        folder, ImageSpec(size=8, crop="none"), selection=SelectionSpec(skip_bad=True)
    )
    assert images.names == ("cat/1.png",)
    assert len(images.skipped) == 5


def test_progress_only_for_many_images(folder, monkeypatch, capsys):
    monkeypatch.delenv("CREDITLINE_PROGRESS", raising=False)
    load_images(folder)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("creditline.data.prepared_pixels.QUIET", 3)
    load_images(folder)
    assert "load images" in capsys.readouterr().err
