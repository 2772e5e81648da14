from __future__ import annotations

import zipfile

import pytest

from creditline.data import load_images
from creditline.data.selection import SelectionSpec
from creditline.errors import DataError

NAMES = tuple(f"{kind}/{i}.png" for kind in ("cat", "horse") for i in range(3))


def test_folder_zip_and_folder_in_zip_agree(folder, zipped):
    plain = load_images(folder)
    assert plain.names == NAMES
    for prefix, inner in (("", ""), ("top/", "/top")):
        images = load_images(f"{zipped(folder, prefix)}{inner}")
        assert images.names == NAMES
        assert images.fingerprint == plain.fingerprint
    cats = load_images(zipped(folder) / "cat")
    assert cats.names == ("0.png", "1.png", "2.png")
    assert cats.ids == plain.ids[:3]


def test_order_is_lexicographic_whatever_the_archive_says(write, noise, tmp_path):
    source = write({f"{i}.png": noise(4, 4, 3, seed=i) for i in (10, 9, 1)})
    path = tmp_path / "shuffled.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("9.png", "10.png", "1.png"):
            archive.write(source / name, name)
    assert load_images(path).names == load_images(source).names == ("1.png", "10.png", "9.png")


def test_hidden_and_other_files_are_passed_over(folder, write):
    write(
        {".cache/a.png": b"x", "__MACOSX/cat/._0.png": b"x", "cat/.DS_Store": b"", "README": "hi"}
    )
    assert load_images(folder).names == NAMES


def test_upper_case_endings(write, noise):
    assert load_images(write({"A.PNG": noise(4, 4, 3)})).names == ("A.PNG",)


def test_links_are_followed_but_not_in_circles(folder, noise, write):
    other = write({"0.png": noise(6, 8, 3, seed=50)}, name="elsewhere")
    (folder / "linked").symlink_to(other)
    (folder / "loop").symlink_to(folder)
    assert load_images(folder).names == (*NAMES, "linked/0.png")


def test_one_image_and_a_list_of_images(folder):
    everything = load_images(folder)
    one = load_images(folder / "cat/1.png")
    assert one.names == ("1.png",)
    assert one.ids == everything.ids[1:2]
    listed = load_images([folder / "horse/0.png", str(folder / "cat/2.png")])
    assert listed.names == ("0.png", "2.png")
    assert listed.ids == (everything.ids[3], everything.ids[2])
    same_name = load_images([folder / "horse/0.png", folder / "cat/0.png"])
    assert len(set(same_name.names)) == 2


def test_missing_sources(folder, zipped, tmp_path):
    with pytest.raises(DataError, match=r"does not exist: .* holds no 'nowhere'"):
        load_images(tmp_path / "nowhere" / "else")
    with pytest.raises(DataError, match=r"holds no folder 'bird/'. Its folders: cat/, horse/"):
        load_images(zipped(folder) / "bird")
    with pytest.raises(DataError, match=r"No such image files: .*gone\.png"):
        load_images([folder / "cat/0.png", folder / "gone.png"])
    with pytest.raises(DataError, match="list of image files is empty"):
        load_images([])
    with pytest.raises(DataError, match="got int"):
        load_images(5)


def test_sources_that_are_something_else(write, tmp_path):
    root = write({"notes.txt": "hello", "fake.zip": "hello"})
    for name in ("notes.txt", "fake.zip", "notes.txt/inner"):
        with pytest.raises(DataError, match="cannot be read as a zip file"):
            load_images(root / name)
    with pytest.raises(DataError, match=r"holds no image among its 2 files"):
        load_images(root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no image\. Give"):
        load_images(tmp_path / "empty")


def test_unreadable_file_and_folder(folder, monkeypatch):
    def refuse(self: object, *_: object) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as patch:
        patch.setattr("os.open", refuse)
        with pytest.raises(DataError, match=r"cat/0\.png: cannot be read \(Permission denied\)"):
            load_images(folder)
    with monkeypatch.context() as patch:
        patch.setattr("os.scandir", refuse)
        with pytest.raises(DataError, match="cannot be listed"):
            load_images(folder)
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.is_dir", refuse)
        with pytest.raises(DataError, match="cannot be read"):
            load_images(folder)


def test_damaged_zip_entry_is_named(folder, zipped):
    path = zipped(folder, compression=zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("cat/1.png")
    data = bytearray(path.read_bytes())
    middle = entry.header_offset + 60
    data[middle : middle + 40] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"cat/1\.png: damaged in .*images\.zip"):
        load_images(path)
    assert len(load_images(path, selection=SelectionSpec(skip_bad=True))) == 5


def test_zip_entry_gone_since_loading(folder, zipped, travel):
    images = load_images(zipped(folder), memory=0)
    (folder / "cat/1.png").unlink()
    zipped(folder)
    with pytest.raises(DataError, match=r"cat/1\.png: no longer in"):
        travel(images).array()


def test_encrypted_zip_entry_is_named(folder, zipped):
    path = zipped(folder)
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(signature)
        while at >= 0:
            data[at + offset] |= 1  # the flag that says "encrypted"
            at = data.find(signature, at + 4)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"cat/0\.png: cannot be read .*encrypted"):
        load_images(path)


def test_file_names_that_are_not_unicode(write, noise):
    source = write({"ok.png": noise(4, 4, 3)})
    try:
        (source / "bad\udcff.png").write_bytes(b"x")
    except OSError:
        pytest.skip("this file system accepts no such names")
    with pytest.raises(DataError, match="not valid UTF-8"):
        load_images(source)
