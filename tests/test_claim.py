"""A folder is continued, done, refused or replaced, by one process at a time."""

from __future__ import annotations

import pytest
from tests.manifests import FACTS, REQUESTS
from tests.processes import holder, tree

from creditline import claim as module
from creditline.claim import claim
from creditline.errors import CreditlineError, IndexMismatchError, LockedError
from creditline.manifest import NAME, Manifest

REQUEST = {**REQUESTS["run"], "n": 3}


def output(status="building", request=REQUEST, kind="run"):
    return Manifest(kind, request, FACTS, status)


def claimed(*arguments, **settings) -> bool:
    with claim(*arguments, **settings) as is_complete:
        return is_complete


def test_a_new_folder_is_claimed_and_continued(tmp_path):
    out = tmp_path / "a" / "out"
    assert claimed(output(), out) is False
    (out / "work").write_text("half")
    assert claimed(output(), out) is False
    assert (out / "work").read_text() == "half"
    output("complete").write(out)
    assert claimed(output(), out) is True
    assert claimed(output(), out, overwrite=True) is True


def test_an_empty_folder_is_claimed(tmp_path):
    assert claimed(output(), tmp_path) is False
    assert Manifest.read(tmp_path, "run").status == "building"


def test_scraps_of_a_killed_process_are_cleared(tmp_path, monkeypatch):
    scrap = tmp_path / ".creditline-x1"
    scrap.mkdir()
    (scrap / "half").write_text("half")
    assert claimed(output(), tmp_path) is False, "of a first process that made nothing else"
    assert scrap.exists(), "whose it is, is not known"
    monkeypatch.setattr("creditline.leftovers.is_abandoned", lambda name: True)
    assert claimed(output(), tmp_path) is False
    assert [p.name for p in tmp_path.iterdir()] == [NAME]


def test_another_request_is_refused_with_both_values(tmp_path):
    claimed(output(), tmp_path)
    (tmp_path / "work").write_text("mine")
    other = {**REQUEST, "n": 4, "config": {**REQUEST["config"], "shape": (1, 3)}}
    with pytest.raises(IndexMismatchError) as caught:
        claimed(output(request=other), tmp_path)
    message = str(caught.value)
    assert "n: 3 on disk, 4 asked for" in message
    assert "config.shape: [1, 2] on disk, [1, 3] asked for" in message
    assert "steps" not in message
    assert "--overwrite" in message
    assert (tmp_path / "work").read_text() == "mine"
    assert claimed(output(request=other), tmp_path, overwrite=True) is False
    assert not (tmp_path / "work").exists()
    assert Manifest.read(tmp_path, "run").request["n"] == 4


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_not_ours_is_never_touched(tmp_path, overwrite):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CreditlineError, match="is a file"):
        claimed(output(), tmp_path / "file", overwrite)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").write_text("mine")
    with pytest.raises(CreditlineError, match="nothing was changed"):
        claimed(output(), tmp_path / "photos", overwrite)
    (tmp_path / "images").mkdir()
    output("complete", REQUESTS["images"], "images").write(tmp_path / "images")
    with pytest.raises(CreditlineError, match="creditline generate"):
        claimed(output(), tmp_path / "images", overwrite)
    assert (tmp_path / "file").read_text() == "mine"
    assert (tmp_path / "photos" / "a.txt").read_text() == "mine"
    assert (tmp_path / "images" / NAME).is_file()


def test_a_damaged_manifest_does_not_let_anything_be_replaced(tmp_path):
    (tmp_path / NAME).write_text("{")
    (tmp_path / "work").write_text("mine")
    with pytest.raises(CreditlineError, match="is damaged"):
        claimed(output(), tmp_path, overwrite=True)
    assert (tmp_path / "work").read_text() == "mine"


@pytest.mark.slow
def test_the_second_of_two_is_refused_whatever_it_asks_for(tmp_path):
    out = tmp_path / "out"
    with holder(out) as pid:
        for request in (REQUEST, {**REQUEST, "n": 4}):
            with pytest.raises(LockedError, match=f"process {pid}"):
                claimed(output(request=request), out, overwrite=True)
        assert tree(out) == {}
    assert claimed(output(), out) is False
    with holder(out):
        before = tree(out)
        with pytest.raises(LockedError):
            claimed(output(), out)
        assert tree(out) == before
        output("complete").write(out)
        assert claimed(output(), out) is True, "what is complete needs no lock"


@pytest.mark.slow
def test_a_claim_holds_the_lock(tmp_path):
    import os

    with claim(output(), tmp_path / "out"):
        pid = os.fork()
        if pid == 0:
            try:
                claimed(output(), tmp_path / "out")
            except LockedError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_what_only_unfinished_work_needs_is_removed_later(tmp_path):
    output("complete").write(tmp_path)
    (tmp_path / "shards").mkdir()
    (tmp_path / "result").touch()
    assert claimed(output(), tmp_path, temporary=["shards", "state"]) is True
    assert sorted(p.name for p in tmp_path.iterdir()) == [NAME, "result"]


class Killed(BaseException):
    """An end of the process, at which nothing else is done."""


def test_an_interrupted_replacement_belongs_to_the_new_request(tmp_path, monkeypatch):
    """At whatever file it stops: the same call ends with the new folder, and nothing of the old."""
    new = {**REQUEST, "n": 4}
    for point in range(1, 100):
        out = tmp_path / str(point)
        with claim(output(), out):
            for name in ("a", "b/c", "b/d", "e"):
                (out / name).parent.mkdir(exist_ok=True)
                (out / name).write_text("old")
            output("complete").write(out)
        calls = []

        def remove(path, real=module.remove, calls=calls, point=point):
            calls.append(path)
            if len(calls) >= point:
                raise Killed
            real(path)

        with monkeypatch.context() as patch:
            patch.setattr(module, "remove", remove)
            try:
                claimed(output(request=new), out, overwrite=True)
            except Killed:
                with pytest.raises(CreditlineError, match="is being replaced"):
                    Manifest.read(out, "run")
                with pytest.raises(IndexMismatchError):
                    claimed(output(), out)
            else:
                return
        assert claimed(output(request=new), out) is False, "without --overwrite, it continues"
        assert list(tree(out)) == [NAME]
        assert Manifest.read(out, "run").request["n"] == 4
    pytest.fail("it never ends")


def test_a_reader_that_goes_on_storing_does_not_stop_a_replacement(tmp_path, monkeypatch):
    with claim(output(), tmp_path):
        (tmp_path / "fitted").mkdir()
    calls = []

    def remove(path, real=module.remove):
        calls.append(path)
        if len(calls) < 3:
            raise OSError(39, "Directory not empty")
        real(path)

    monkeypatch.setattr(module, "remove", remove)
    assert claimed(output(request={**REQUEST, "n": 4}), tmp_path, overwrite=True) is False
    assert list(tree(tmp_path)) == [NAME]


def test_a_folder_with_a_link_out_is_not_written_to(tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "precious").touch()
    out = tmp_path / "out"
    with claim(output(), out):
        (out / "fitted").symlink_to(tmp_path / "victim")
    for request in (REQUEST, {**REQUEST, "n": 4}):
        with pytest.raises(CreditlineError, match="leads out"):
            claimed(output(request=request), out, overwrite=True)
    assert (tmp_path / "victim" / "precious").exists()
