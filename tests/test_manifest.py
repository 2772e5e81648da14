"""A manifest decides whether a folder is continued, done, refused or replaced."""

from __future__ import annotations

import json

import pytest

from creditline import manifest as module
from creditline.errors import CreditlineError, IndexMismatchError
from creditline.files import ASIDE
from creditline.manifest import COMMANDS, NAME, Manifest, circumstances, claim

REQUEST = {"n": 3, "config": {"steps": 2, "shape": (1, 2), "name": "Zoë"}}


def output(status="building", request=REQUEST, kind="run"):
    return Manifest(kind, request, {"versions": {"creditline": "0.0.7"}}, status)


def write(folder, **changes):
    """A manifest file with some entries changed, or left out where None."""
    output().write(folder)
    values = {**json.loads((folder / NAME).read_text("utf-8")), **changes}
    text = json.dumps({k: v for k, v in values.items() if v is not None})
    (folder / NAME).write_text(text, "utf-8")


@pytest.mark.parametrize("kind", sorted(COMMANDS))
def test_there_and_back(tmp_path, kind):
    output("complete", kind=kind).write(tmp_path)
    result = Manifest.read(tmp_path, kind)
    assert result.status == "complete"
    assert result.request == json.loads(json.dumps(REQUEST))
    assert result.facts == {"versions": {"creditline": "0.0.7"}}
    result.require_same(REQUEST, tmp_path)  # tuples are the lists they became
    assert "Zoë" in (tmp_path / NAME).read_text("utf-8")


def test_a_folder_without_one_names_the_command(tmp_path):
    with pytest.raises(CreditlineError, match="not written by `creditline generate`"):
        Manifest.read(tmp_path, "images")


@pytest.mark.parametrize("missing", ["schema", "kind", "status", "request", "facts"])
def test_a_missing_entry_is_damage(tmp_path, missing):
    write(tmp_path, **{missing: None})
    with pytest.raises(CreditlineError, match=rf"cannot be read.*{missing}.*creditline train"):
        Manifest.read(tmp_path, "run")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"null", b"\xff\xfe"])
def test_damage_is_an_error_of_ours(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(CreditlineError, match="cannot be read"):
        Manifest.read(tmp_path, "run")


def test_another_schema_names_the_version_that_wrote_it(tmp_path):
    write(tmp_path, schema=99)
    with pytest.raises(CreditlineError, match=r"schema 99, this version reads 1.*0\.0\.7"):
        Manifest.read(tmp_path, "run")


def test_another_kind_names_its_command(tmp_path):
    output(kind="images").write(tmp_path)
    with pytest.raises(CreditlineError, match="creditline generate"):
        Manifest.read(tmp_path, "index")


def test_a_failed_write_keeps_the_old_one(tmp_path, monkeypatch):
    output().write(tmp_path)

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("creditline.files.os.replace", full)
    with pytest.raises(OSError, match="No space"):
        output("complete").write(tmp_path)
    assert Manifest.read(tmp_path, "run").status == "building"
    assert [p.name for p in tmp_path.iterdir()] == [NAME]


def test_a_new_folder_is_claimed_and_continued(tmp_path):
    out = tmp_path / "a" / "out"
    assert claim(output(), out) is False
    (out / "work").write_text("half")
    assert claim(output(), out) is False
    assert (out / "work").read_text() == "half"
    output("complete").write(out)
    assert claim(output(), out) is True
    assert claim(output(), out, overwrite=True) is True


def test_an_empty_folder_is_claimed(tmp_path):
    assert claim(output(), tmp_path) is False
    assert Manifest.read(tmp_path, "run").status == "building"


def test_scraps_of_a_killed_process_are_cleared(tmp_path):
    scrap = tmp_path / f"{ASIDE}x1"
    scrap.mkdir()
    (scrap / "half").write_text("half")
    assert claim(output(), tmp_path) is False
    assert [p.name for p in tmp_path.iterdir()] == [NAME]


def test_another_request_is_refused_with_both_values(tmp_path):
    claim(output(), tmp_path)
    (tmp_path / "work").write_text("mine")
    other = {"n": 4, "config": {"steps": 2, "shape": (1, 3), "name": "Zoë"}}
    with pytest.raises(IndexMismatchError) as caught:
        claim(output(request=other), tmp_path)
    message = str(caught.value)
    assert "n: 3 on disk, 4 asked for" in message
    assert "config.shape: [1, 2] on disk, [1, 3] asked for" in message
    assert "steps" not in message
    assert "--overwrite" in message
    assert (tmp_path / "work").read_text() == "mine"
    assert claim(output(request=other), tmp_path, overwrite=True) is False
    assert not (tmp_path / "work").exists()
    assert Manifest.read(tmp_path, "run").request["n"] == 4


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_not_ours_is_never_touched(tmp_path, overwrite):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CreditlineError, match="is a file"):
        claim(output(), tmp_path / "file", overwrite)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").write_text("mine")
    with pytest.raises(CreditlineError, match="nothing was changed"):
        claim(output(), tmp_path / "photos", overwrite)
    (tmp_path / "images").mkdir()
    output("complete", kind="images").write(tmp_path / "images")
    with pytest.raises(CreditlineError, match="creditline generate"):
        claim(output(), tmp_path / "images", overwrite)
    assert (tmp_path / "file").read_text() == "mine"
    assert (tmp_path / "photos" / "a.txt").read_text() == "mine"
    assert (tmp_path / "images" / NAME).is_file()


def test_a_damaged_manifest_does_not_let_anything_be_replaced(tmp_path):
    (tmp_path / NAME).write_text("{")
    (tmp_path / "work").write_text("mine")
    with pytest.raises(CreditlineError, match="cannot be read"):
        claim(output(), tmp_path, overwrite=True)
    assert (tmp_path / "work").read_text() == "mine"


def test_circumstances_are_ready_for_json():
    facts = circumstances()
    assert json.loads(json.dumps(facts)) == facts
    assert {"created", "versions", "git_revision"} <= set(facts)
    assert module.SCHEMA == 1
