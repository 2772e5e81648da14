"""The registry: names, plug-ins, and classes that are registered nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import ClassVar

import pytest

from creditline import methods
from creditline.errors import CreditlineError, SettingsError
from creditline.methods import registry
from creditline.methods.gradient_dot import GradientDot


@dataclass
class Halved(GradientDot):
    """Half of the inner product."""

    name: ClassVar = "halved"
    title: ClassVar = "Halved"


@pytest.fixture
def plugins(monkeypatch):
    """Registers entry points: name to place."""

    def register(**places):
        entries = [
            metadata.EntryPoint(name.replace("_", "-"), place, registry.GROUP)
            for name, place in places.items()
        ]
        monkeypatch.setattr(registry.metadata, "entry_points", lambda group: entries)
        clear()

    def clear():
        registry._plugins.cache_clear()
        registry.broken.cache_clear()

    yield register
    monkeypatch.undo()
    clear()


def test_every_name_leads_to_a_class_of_that_name_that_can_be_made_without_settings():
    assert not methods.broken()
    for name in methods.names():
        assert methods.get(name)().name == name
        assert methods.reference(methods.get(name)) == name


def test_unknown_method_suggests_the_nearest():
    with pytest.raises(SettingsError, match="Did you mean 'd-trak'"):
        methods.get("dtrak")
    with pytest.raises(SettingsError, match="Did you mean 'datamodel'"):
        methods.get("datamodle")


def test_another_package_adds_a_method(plugins):
    plugins(halved=f"{__name__}:Halved")
    assert methods.get("halved") is Halved
    assert list(methods.classes())[-1] == "halved"
    assert methods.reference(Halved()) == "halved"


def test_a_class_is_named_by_its_place():
    place = f"{__name__}:Halved"
    assert methods.get(place) is Halved
    assert methods.reference(Halved) == place
    with pytest.raises(SettingsError, match=r"no subclass of creditline\.methods\.Attributor"):
        methods.get("creditline.settings:setting")


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("no_such_package:Method", "ModuleNotFoundError"),
        (f"{__name__}:Nothing", "AttributeError"),
        ("creditline.settings:setting", "no subclass"),
        ("creditline.methods.bilinear:BilinearAttributor", "does not implement query_factors"),
        ("creditline.methods.gradient_dot:GradientDot", "its class is called 'gradient-dot'"),
    ],
)
def test_a_broken_plugin_is_named_and_harms_no_other_method(plugins, place, reason):
    plugins(bad_one=place)
    with pytest.raises(SettingsError, match=rf"'bad-one' of the package .*{reason}"):
        methods.get("bad-one")
    assert list(methods.broken()) == ["bad-one"]
    assert "bad-one" not in methods.classes()
    assert "trak" in methods.classes()


def test_a_name_is_registered_once(plugins):
    plugins(trak=f"{__name__}:Halved")
    with pytest.raises(CreditlineError, match="'trak', a name that Creditline has already"):
        methods.names()
