"""One process at a time writes to a folder, and one that was killed is in nobody's way."""

from __future__ import annotations

import errno
import json
import os
import threading

import pytest
from tests.processes import holder

from creditline import lock as module
from creditline.errors import AccessError, LockedError
from creditline.leftovers import HOLDER, LOCK
from creditline.lock import locked, locked_if_free
from creditline.owner import Owner


def test_a_lock_leaves_nothing_behind(tmp_path):
    with locked(tmp_path / "a" / "b"):
        assert {p.name for p in (tmp_path / "a" / "b").iterdir()} == {LOCK, HOLDER}
    assert not (tmp_path / "a").exists(), "folders that it made are removed when they are empty"
    with locked(tmp_path / "a"):
        (tmp_path / "a" / "work").touch()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["work"]


@pytest.mark.slow
def test_the_second_is_told_who_holds_it_and_changes_nothing(tmp_path):
    with holder(tmp_path) as pid:
        message = rf"process {pid} on .* since 20\d\d-.*Wait until that has finished"
        with pytest.raises(LockedError, match=message), locked(tmp_path):
            pytest.fail("two writers")
        with locked_if_free(tmp_path) as is_locked:
            assert not is_locked
        assert {p.name for p in tmp_path.iterdir()} == {LOCK, HOLDER}


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
    with holder(tmp_path):
        pass
    assert {p.name for p in tmp_path.iterdir()} == {LOCK, HOLDER}
    with locked(tmp_path):
        values = json.loads((tmp_path / HOLDER).read_text("utf-8"))
        assert values["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_thread_may_lock_again_and_another_may_not(tmp_path):
    caught = []

    def other():
        try:
            with locked(tmp_path):
                pass
        except LockedError as error:
            caught.append(error)

    with locked(tmp_path), locked(tmp_path / ".." / tmp_path.name):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(caught) == 1
    with locked(tmp_path):
        pass


def test_an_error_releases_the_lock(tmp_path):
    with pytest.raises(KeyboardInterrupt), locked(tmp_path):
        raise KeyboardInterrupt
    with locked(tmp_path):
        pass


def test_links_in_place_of_its_files_lead_nowhere(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / HOLDER).symlink_to(victim)
    with locked(folder):
        pass
    (folder / LOCK).symlink_to(victim)
    with pytest.raises(AccessError), locked(folder):
        pass
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_without_permission_the_error_says_so(tmp_path, monkeypatch, number):
    def denied(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module.FileLock, "acquire", denied)
    with pytest.raises(AccessError, match="permission to write") as caught, locked(tmp_path):
        pass
    assert "space" not in str(caught.value)


def test_a_file_system_without_locks_has_the_record_of_the_owner(tmp_path, monkeypatch):
    def missing(*_args, **_kwargs):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(module.FileLock, "acquire", missing)
    with locked(tmp_path):
        assert {p.name for p in tmp_path.iterdir()} == {HOLDER}
    here = Owner.current().to_json()
    gone = {**here, "pid": 2**22 + 1}
    for values, is_free in ((gone, True), (here, False), ({**gone, "host": "other"}, False)):
        (tmp_path / HOLDER).write_text(json.dumps(values))
        with locked_if_free(tmp_path) as is_locked:
            assert is_locked == is_free


@pytest.mark.slow
@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1e400}', "[" * 5000])
def test_a_damaged_record_hides_only_the_name(tmp_path, content):
    with holder(tmp_path):
        (tmp_path / HOLDER).write_text(content)
        with pytest.raises(LockedError, match="another process"), locked(tmp_path):
            pass


def test_an_owner_says_whether_it_still_runs():
    owner = Owner.current()
    assert not owner.is_gone
    assert Owner.from_json(owner.to_json()) == owner
    assert Owner.from_json({**owner.to_json(), "pid": 2**22 + 1}).is_gone
    assert Owner.from_json({**owner.to_json(), "started": owner.started + 1}).is_gone
    assert not Owner.from_json({**owner.to_json(), "host": "elsewhere", "pid": 1}).is_gone
