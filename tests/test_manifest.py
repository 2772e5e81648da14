"""A manifest says what a folder holds, and what cannot be one is refused."""

from __future__ import annotations

import json

import pytest
from tests.manifests import KIND_FACTS, REQUESTS

from creditline import manifest as module
from creditline.errors import CreditlineError, DamageError
from creditline.manifest import COMMANDS, NAME, Manifest, circumstances
from creditline.stored_json import OBJECT, read_json, write_json


def output(status="building", kind="run"):
    return Manifest(kind, REQUESTS[kind], KIND_FACTS[kind], status)


def write(folder, **changes):
    """A manifest file with some entries changed, or left out where None; its checksum is right."""
    output().write(folder)
    values = {**read_json(folder / NAME, "", OBJECT), **changes}
    write_json(folder / NAME, {k: v for k, v in values.items() if v is not None})


@pytest.mark.parametrize("kind", sorted(COMMANDS))
def test_there_and_back(tmp_path, kind):
    output("complete", kind=kind).write(tmp_path)
    result = Manifest.read(tmp_path, kind)
    assert result.status == "complete"
    assert result.request == json.loads(json.dumps(REQUESTS[kind]))
    assert result.facts == KIND_FACTS[kind]
    result.require_same(REQUESTS[kind], tmp_path)
    tuples = {**REQUESTS[kind], "x": (1, 2)}
    lists = Manifest(kind, {**REQUESTS[kind], "x": [1, 2]}, {})
    lists.require_same(tuples, tmp_path)  # tuples are the lists they became


def test_names_are_legible_in_the_file(tmp_path):
    output().write(tmp_path)
    assert "Zoë" in (tmp_path / NAME).read_text("utf-8")


def test_a_folder_without_one_names_the_command(tmp_path):
    with pytest.raises(CreditlineError, match="not written by `creditline generate`"):
        Manifest.read(tmp_path, "images")


@pytest.mark.parametrize("missing", ["schema", "kind", "status", "request", "facts"])
def test_a_missing_entry_is_damage(tmp_path, missing):
    write(tmp_path, **{missing: None})
    with pytest.raises(CreditlineError, match=rf"is damaged.*{missing}.*creditline train"):
        Manifest.read(tmp_path, "run")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"null", b"\xff\xfe"])
def test_damage_is_an_error_of_ours(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(DamageError, match="is damaged"):
        Manifest.read(tmp_path, "run")


@pytest.mark.parametrize(
    ("old", "new"), [('"steps": 2', '"steps": 3'), ('"n"', '"m"'), ("Zoë", "Zoe")]
)
def test_a_changed_value_is_damage(tmp_path, old, new):
    output().write(tmp_path)
    text = (tmp_path / NAME).read_text("utf-8")
    assert old in text
    (tmp_path / NAME).write_text(text.replace(old, new), "utf-8")
    with pytest.raises(DamageError, match="does not hold what was written"):
        Manifest.read(tmp_path, "run")


def test_its_layout_is_free(tmp_path):
    output().write(tmp_path)
    values = json.loads((tmp_path / NAME).read_text("utf-8"))
    (tmp_path / NAME).write_text(json.dumps(values, sort_keys=True), "utf-8")
    assert Manifest.read(tmp_path, "run").request == output().request


def test_another_schema_is_named(tmp_path):
    write(tmp_path, schema=99)
    with pytest.raises(CreditlineError, match=r"schema 99, this version reads 2.*creditline train"):
        Manifest.read(tmp_path, "run")
    values = {"schema": 1, "kind": "run", "status": "complete", "request": {}, "facts": {}}
    (tmp_path / NAME).write_text(json.dumps(values))  # before there were checksums
    with pytest.raises(CreditlineError, match="schema 1, this version reads 2"):
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


def test_circumstances_are_ready_for_json():
    facts = circumstances()
    assert json.loads(json.dumps(facts)) == facts
    assert {"created", "versions", "git_revision"} <= set(facts)
    assert module.SCHEMA == 2


def test_while_a_folder_is_cleared_nobody_reads_it(tmp_path):
    output("clearing").write(tmp_path)
    with pytest.raises(CreditlineError, match="is being replaced"):
        Manifest.read(tmp_path, "run")
    assert Manifest.read(tmp_path, "run", clearing=True).status == "clearing"
