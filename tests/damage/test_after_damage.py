"""What is made again after damage, what is named, and what stays readable."""

from __future__ import annotations

import pytest

import creditline as cl
from creditline.errors import CreditlineError, DamageError
from creditline.verification import verify


@pytest.mark.slow
def test_damaged_results_of_fitting_are_computed_again(make):
    folder, answer = make("index")
    expected = answer(folder)
    for path in [p for p in folder.glob("fitted/**/*") if p.is_file()]:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.warns(match="computed again"):
            assert answer(folder) == expected
        assert not verify(folder).damaged


@pytest.mark.slow
def test_a_damaged_newer_version_of_the_table_is_not_looked_at(make):
    folder, answer = make("index")
    expected = answer(folder)
    (newest,) = (folder / "images.lance" / "_versions").glob("*.manifest")
    for content in (b"", b"garbage" * 9):
        newer = newest.with_name(f"{int(newest.stem) - 1:020d}.manifest")
        newer.write_bytes(content)
        assert answer(folder) == expected
    assert cl.open_index(folder, model=None).remove([0]).n == 7


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["index", "unfinished index", "trace", "model", "truth", "images"])
def test_verify_names_what_is_damaged(make, kind):
    folder, _ = make(kind)
    place = folder / "trace.json" if kind == "trace" else folder
    result = verify(place)
    assert not result.damaged
    for file in result.files:
        if file.state == "intact":
            path = folder / file.name
            content = path.read_bytes()
            path.write_bytes(content[:-3])
            damaged = [f.name for f in verify(place).damaged]
            assert file.name in damaged
            path.write_bytes(content)


def test_verify_needs_something_of_ours(tmp_path):
    with pytest.raises(CreditlineError, match="holds nothing of Creditline"):
        verify(tmp_path)


@pytest.mark.slow
def test_files_have_the_permissions_of_new_files(make):
    folder, _ = make("index")
    (folder / "new").touch()
    mode = (folder / "new").stat().st_mode
    assert {p.stat().st_mode for p in folder.rglob("*") if p.is_file()} == {mode}


def test_a_model_that_was_changed_on_purpose_loads_without_its_record(make):
    folder, answer = make("model")
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text("utf-8").replace('"linear"', '"scaled_linear"'), "utf-8")
    with pytest.raises(DamageError, match=r"If you changed it, delete creditline\.json"):
        answer(folder)
    (folder / "creditline.json").unlink()
    answer(folder)
