"""A package of toy methods, installed as far as entry points can tell."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from creditline.methods import registry

PACKAGE = Path(__file__).parent / "toy_package"
ENTRY_POINTS = """[creditline.methods]
sign-agreement = toy_methods.sign_agreement:SignAgreement
ascent-step = toy_methods.ascent_step:AscentStep
mask-covariance = toy_methods.mask_covariance:MaskCovariance
"""


@pytest.fixture
def toy_methods(tmp_path, monkeypatch):
    """Installs the package; names of its methods by kind."""
    facts = tmp_path / "site" / "toy_methods-1.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-methods\nVersion: 1\n")
    (facts / "entry_points.txt").write_text(ENTRY_POINTS, "utf-8")
    monkeypatch.syspath_prepend(facts.parent)
    monkeypatch.syspath_prepend(PACKAGE)
    _forget()
    yield {"bilinear": "sign-agreement", "model": "ascent-step", "subset": "mask-covariance"}
    for name in [name for name in sys.modules if name.startswith("toy_methods")]:
        del sys.modules[name]
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    registry._plugins.cache_clear()
    registry.broken.cache_clear()
