"""Files are written whole or not at all."""

from __future__ import annotations

import pytest

from creditline.errors import SettingsError
from creditline.files import write_file


def test_it_makes_folders_and_leaves_no_scrap(tmp_path):
    path = write_file(tmp_path / "a" / "b" / "c.txt", lambda draft: draft.write_text("new"))
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["c.txt"]


def test_the_draft_has_the_files_name(tmp_path):
    write_file(tmp_path / "c.png", lambda draft: draft.write_text(draft.name))
    assert (tmp_path / "c.png").read_text() == "c.png"


def test_an_existing_file_stays_unless_overwritten(tmp_path):
    path = tmp_path / "c.txt"
    path.write_text("old")
    with pytest.raises(SettingsError, match="was not changed"):
        write_file(path, lambda draft: draft.write_text("new"))
    assert path.read_text() == "old"
    write_file(path, lambda draft: draft.write_text("new"), overwrite=True)
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "c.txt"
    path.write_text("old")

    def fail(draft):
        draft.write_text("half")
        raise error

    with pytest.raises(type(error)):
        write_file(path, fail, overwrite=True)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["c.txt"]


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(SettingsError, match="it is a folder"):
        write_file(tmp_path, lambda draft: draft.write_text("new"), overwrite=True)


@pytest.mark.parametrize("target", ["nowhere", "file"])
def test_a_folder_that_is_a_file_or_a_link_to_nothing_is_named(tmp_path, target):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(SettingsError, match=r"Nothing can be written in .*link.*leads nowhere"):
        write_file(tmp_path / "link" / "inner" / "a.txt", lambda path: path.write_text("x"))
