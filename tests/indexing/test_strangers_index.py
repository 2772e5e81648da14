"""An index of a stranger runs no code, loads nothing from elsewhere, and writes nowhere else."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import creditline as cl
from creditline.errors import CreditlineError, SettingsError


@pytest.fixture
def index(tiny_images, tmp_path):
    return cl.index(None, tiny_images, method="pixel-dot", out=tmp_path / "index")


def edit(folder: Path, **methods: Any) -> None:
    """Replace the method that the manifest names."""
    path = folder / "manifest.json"
    values = json.loads(path.read_text("utf-8"))
    values.pop("checksum", None)
    values["request"]["method"] |= methods
    try:
        from creditline.stored_json import with_checksum
    except ImportError:
        path.write_text(json.dumps(values), "utf-8")
    else:
        plain, checksum = with_checksum(values)
        path.write_text(json.dumps({**plain, "checksum": checksum}), "utf-8")


def test_no_module_is_imported_because_a_file_names_it(index, tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("open('ran', 'w').close()", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    edit(index.path, name="evil_module:Evil")
    with pytest.raises(SettingsError, match="must not choose the code that runs"):
        cl.open_index(index.path)
    assert "evil_module" not in sys.modules
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["os:system", "json:JSONDecoder", "a:b:c", "x", ":", "", "../x:Y"])
def test_what_is_no_method_is_refused(index, name):
    edit(index.path, name=name)
    with pytest.raises(CreditlineError):
        cl.open_index(index.path)


@pytest.mark.parametrize("settings", [{"a": 1}, {"score_transform": 3}, {"score_transform": []}])
def test_settings_of_other_types_are_refused(index, settings):
    edit(index.path, settings=settings)
    with pytest.raises(CreditlineError):
        cl.open_index(index.path)


def test_an_encoder_is_not_looked_for_on_the_network(index, tiny_images):
    edit(index.path, name="encoder-dot", settings={"encoder": "somebody/encoder"})
    with pytest.raises(SettingsError, match="what is loaded from the network"):
        cl.open_index(index.path).trace(tiny_images.subset([0]))
