"""What killed processes left is removed, and nothing of a running one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from creditline.errors import CreditlineError
from creditline.files import write_file
from creditline.leftovers import HOLDER, LOCK, OLD, clear_leftovers, remove, scratch_folder
from creditline.owner import aside_prefix, is_abandoned
from creditline.paths import inside, require_no_way_out


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def prefix_of_an_ended_process() -> str:
    code = "from creditline.owner import aside_prefix; print(aside_prefix(), end='')"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return result.stdout


def test_leftovers_are_cleared_at_every_depth(tmp_path):
    prefix = prefix_of_an_ended_process()
    assert is_abandoned(f"{prefix}abc") is True
    for place in (tmp_path, tmp_path / "fitted" / "x", tmp_path / "shards"):
        (place / f"{prefix}abc").mkdir(parents=True)
        (place / f"{prefix}abc" / "half").write_text("half")
        (place / f"{aside_prefix()}abc").mkdir()
        (place / ".creditline-unknown").mkdir()
    (tmp_path / LOCK).touch()
    (tmp_path / HOLDER).touch()
    clear_leftovers(tmp_path)
    assert not [name for name in names(tmp_path) if prefix in name]
    assert len([name for name in names(tmp_path) if aside_prefix() in name]) == 3
    assert len([name for name in names(tmp_path) if "unknown" in name]) == 3
    old = (tmp_path / ".creditline-unknown").stat().st_mtime - OLD - 60
    os.utime(tmp_path / ".creditline-unknown", (old, old))
    clear_leftovers(tmp_path)
    assert len([name for name in names(tmp_path) if "unknown" in name]) == 2
    assert (tmp_path / LOCK).exists()


def test_jobs_of_killed_processes_are_removed_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    job = tmp_path / f"{prefix_of_an_ended_process()}abc"
    job.mkdir()
    (job / "job.pkl").write_bytes(b"a model and images")
    (tmp_path / "of-another-program").mkdir()
    with scratch_folder() as one, scratch_folder() as two:
        assert {*names(tmp_path)} == {os.path.basename(x) for x in (one, two)} | {
            "of-another-program"
        }
    assert names(tmp_path) == ["of-another-program"]


def test_an_export_clears_what_a_killed_one_left_beside_it(tmp_path):
    (tmp_path / f"{prefix_of_an_ended_process()}abc").mkdir()
    (tmp_path / "inner" / f"{prefix_of_an_ended_process()}abc").mkdir(parents=True)
    write_file(tmp_path / "a", lambda draft: draft.write_text("x"))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a", "inner"]
    assert len(list((tmp_path / "inner").iterdir())) == 1, "the folder is the user's own"


def test_a_file_that_is_written_names_its_process(tmp_path):
    seen = []
    write_file(tmp_path / "a", lambda draft: (seen.append(draft), draft.write_text("x")))
    assert seen[0].parent.name.startswith(aside_prefix())
    assert is_abandoned(seen[0].parent.name) is False


@pytest.mark.parametrize(
    "name", [".creditline-", ".creditline-x", ".creditline-1-2-3", ".creditline-ffffffff-1-1-x"]
)
def test_of_others_nothing_is_known(name):
    assert is_abandoned(name) is None


def test_removal_does_not_follow_links(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").touch()
    (tmp_path / "link").symlink_to(victim)
    remove(tmp_path / "link")
    remove(tmp_path / "missing")
    assert (victim / "precious").exists()
    assert not (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("name", ["../x", "/etc", "a/../../x", "link/x", "link", "\x00"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(CreditlineError, match="leads out"):
        inside(folder, name)
    assert inside(folder, "a", "b") == folder / "a" / "b"


def test_folders_with_a_way_out_are_not_written_to(tmp_path):
    folder = tmp_path / "folder"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "fine").symlink_to(folder / "deep" / "er")
    require_no_way_out(folder)
    (folder / "deep" / "er" / "out").symlink_to(tmp_path)
    with pytest.raises(CreditlineError, match=r"er.out is a link that leads out"):
        require_no_way_out(folder)
