"""Names of files, contributors and columns, from systems that write them differently."""

from __future__ import annotations

import unicodedata
import zipfile

import pytest
from tests.data.conftest import encode

from creditline.data import formats, load_images
from creditline.data.image_set import ImageSet
from creditline.data.metadata_spec import MetadataSpec
from creditline.errors import DataError

COMPOSED = "Zoë"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


def test_a_zip_file_of_windows_has_folders(tmp_path, noise):
    with zipfile.ZipFile(tmp_path / "win.zip", "w") as archive:
        for i in range(2):
            archive.writestr(f"art\\anna\\p{i}.png", encode(noise(4, 4, 3, seed=i)))
        archive.writestr(
            "art\\metadata.csv", "file_name,contributor\nanna\\p0.png,A\nanna/p1.png,A"
        )
    images = load_images(tmp_path / "win.zip")
    assert images.names == ("art/anna/p0.png", "art/anna/p1.png")
    assert images.contributors == ("A", "A")
    assert load_images(tmp_path / "win.zip" / "art").names == ("anna/p0.png", "anna/p1.png")


def test_two_entries_of_one_name_are_refused(tmp_path, noise):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x\\a.png", encode(noise(4, 4, 3)))
        archive.writestr("x/a.png", encode(noise(4, 4, 3, seed=1)))
    with pytest.raises(DataError, match=r"two entries called x/a\.png"):
        load_images(tmp_path / "a.zip")


def test_backslashes_of_a_path_are_resolved(write, noise):
    csv = "file_name,text\n..\\in\\.\\a.png,x\n"
    assert load_images(write({"in/a.png": noise(4, 4, 3), "in/metadata.csv": csv})).texts == ("x",)


def test_a_folder_keeps_its_name_where_a_link_leads_to_it(write, noise):
    root = write({"b/zoe/0.png": noise(4, 4, 3), "b/zoe/1.png": noise(4, 4, 3, seed=1)})
    (root / "a").mkdir()
    (root / "a" / "deep").symlink_to(root / "b" / "zoe")
    (root / "alias").symlink_to("b")
    assert load_images(root).names == ("b/zoe/0.png", "b/zoe/1.png")


def test_two_forms_of_an_accent_are_one_name(write, noise):
    csv = f"file_name,contributor,label\n{DECOMPOSED}.png,{COMPOSED},é\nb.png,{DECOMPOSED},é\n"
    root = write({f"{DECOMPOSED}.png": noise(4, 4, 3), "b.png": noise(4, 4, 3, seed=1)})
    (root / "metadata.csv").write_text(csv, "utf-8")
    images = load_images(root)
    assert images.names == (f"{COMPOSED}.png", "b.png")
    assert set(images.contributors) == {COMPOSED}
    assert images.label_names == ("é",)
    assert all((root / key).exists() for key in images.keys)
    held = ImageSet.from_images([noise(4, 4, 3)] * 2, contributors=[COMPOSED, DECOMPOSED + " "])
    assert set(held.contributors) == {COMPOSED}


def test_two_forms_of_a_column_are_one_column(write, noise):
    name = unicodedata.normalize("NFD", "künstler")
    root = write({"a.png": noise(4, 4, 3), "metadata.csv": f"file_name,{name}\na.png,Ann\n"})
    spec = MetadataSpec(contributor_column="künstler")
    assert load_images(root, metadata=spec).contributors == ("Ann",)
    (root / "metadata.csv").write_text(f"file_name,{name},künstler\na.png,A,B\n", "utf-8")
    with pytest.raises(DataError, match="two columns are called künstler"):
        load_images(root)


def test_two_files_that_differ_in_their_accents_only_are_refused(write, noise):
    root = write({f"{COMPOSED}.png": noise(4, 4, 3), f"{DECOMPOSED}.png": noise(4, 4, 3)})
    if len(list(root.iterdir())) < 2:
        pytest.skip("this file system composes names")
    with pytest.raises(DataError, match="two files called Zoë"):
        load_images(root)


def test_files_that_are_left_out_are_counted_and_named(write, noise, zipped, monkeypatch):
    monkeypatch.setattr(formats, "image_endings", lambda: formats.ENDINGS)  # no plug-ins
    names = ["phone.HEIC", "0123abcd", "a.txt", "b.txt", "c.txt"]
    root = write({"p.png": noise(4, 4, 3), **dict.fromkeys(names, b"x"), ".hidden": b"x"})
    for source in (root, zipped(root)):
        skipped = dict(load_images(source).skipped)
        assert skipped["a.txt and 2 more"] == ".txt is not an ending of images"
        assert skipped["0123abcd"] == "a name without an ending"
        assert skipped["phone.HEIC"].startswith(".heic needs a plug-in of Pillow: pip install")
        assert len(skipped) == 3
    (root / "metadata.csv").write_text("file_name,text\np.png,x\n")
    assert "0123abcd" in dict(load_images(root).skipped)


def test_masks_are_read_from_the_data_set_alone(write, noise, tmp_path):
    import numpy as np

    (tmp_path / "secret.png").write_bytes(encode(np.full((4, 4), 255, np.uint8)))
    root = write({"a.png": noise(4, 4, 3), "m/a.png": np.full((4, 4), 255, np.uint8)})
    (root / "metadata.csv").write_text("file_name,mask\na.png,m\\a.png\n")
    assert load_images(root, masks="column").masks[0].share == 1
    for outside in ("../secret.png", str(tmp_path / "secret.png"), "m/../../secret.png"):
        (root / "metadata.csv").write_text(f"file_name,mask\na.png,{outside}\nm/a.png,\n")
        with pytest.raises(DataError, match=r"is no file in"):
            load_images(root, masks="column")


def test_texts_that_no_file_could_hold_are_refused(noise, tmp_path):
    pixels, bad = [noise(4, 4, 3)], "b\ud800"
    for further in ({"names": [bad]}, {"texts": [bad]}, {"contributors": [bad]}):
        with pytest.raises(DataError, match=r"'b\\ud800' in \w+ is not valid Unicode"):
            ImageSet.from_images(pixels, **further)
    for columns in ({"a": [bad]}, {bad: ["a"]}):
        with pytest.raises(DataError, match=r"is not valid Unicode. Rename it"):
            ImageSet.from_images(pixels, columns=columns)
