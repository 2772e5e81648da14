"""Settings turn into dictionaries and back, and reach their leaves by name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Literal

import pytest

from creditline import methods
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.presets import PRESETS
from creditline.errors import SettingsError
from creditline.settings import (
    flatten,
    from_dict,
    override,
    require,
    setting,
    to_dict,
    validate_settings,
)


@dataclass(frozen=True)
class Inner:
    size: int = setting(3, "a size")
    shape: tuple[int, ...] = setting((1, 2), "a shape")


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    inners: tuple[Inner, ...] = ()
    pair: tuple[int, str] = (1, "a")
    maybe: Inner | None = None
    size_limit: float | None = None
    notes: dict = field(default_factory=dict)


FULL = Outer(Inner(5, (7,)), (Inner(1), Inner(2)), (2, "b"), Inner(9), 1.5, {1: (2, Inner(4))})


def test_a_dictionary_is_ready_for_json():
    values = to_dict(FULL)
    assert json.loads(json.dumps(values)) == values
    assert values["inner"] == {"size": 5, "shape": [7]}
    assert values["notes"] == {"1": [2, {"size": 4, "shape": [1, 2]}]}


@pytest.mark.parametrize("settings", [Outer(), Outer(maybe=Inner(4)), *PRESETS.values()])
def test_there_and_back(settings):
    assert from_dict(type(settings), json.loads(json.dumps(to_dict(settings)))) == settings


@pytest.mark.parametrize("name", sorted(methods.classes()))
def test_every_method_there_and_back(name):
    method = methods.classes()[name]()
    assert from_dict(type(method), json.loads(json.dumps(to_dict(method)))) == method


def test_tuples_of_settings_come_back_as_settings():
    back = from_dict(Outer, to_dict(Outer(inners=(Inner(1), Inner(2, (3,))))))
    assert back.inners == (Inner(1), Inner(2, (3,)))


def test_missing_keys_take_their_defaults():
    assert from_dict(Outer, {}) == Outer()


def test_a_key_of_another_version_is_named():
    with pytest.raises(SettingsError, match=r"Unknown Inner setting 'sise'\. Did you mean 'size'"):
        from_dict(Outer, {"inner": {"sise": 3}})


@pytest.mark.parametrize("value", [Outer, {"size": 1}, None])
def test_only_instances_are_settings(value):
    with pytest.raises(SettingsError, match="dataclass instances"):
        to_dict(value)


def test_leaves_by_name():
    assert flatten(Outer())["size"] == 3
    assert "inner" not in flatten(Outer())
    changed = override(Outer(), {"size": 8, "pair": (3, "c")})
    assert changed == Outer(inner=Inner(size=8), pair=(3, "c"))


def test_a_group_is_replaced_by_its_name():
    assert override(Outer(), {"inner": Inner(6)}) == Outer(inner=Inner(6))
    assert override(Outer(), {}) == Outer()


def test_an_unknown_leaf_is_named():
    with pytest.raises(SettingsError, match=r"Unknown setting 'shap'\. Did you mean 'shape'"):
        override(Outer(), {"shap": 1})


def test_overriding_validates():
    with pytest.raises(SettingsError, match="steps must be at least 1; got 0"):
        override(TrainConfig(), {"steps": 0})
    with pytest.raises(SettingsError, match="dropout"):
        override(TrainConfig(), {"dropout": 2})


@pytest.mark.parametrize(
    "settings", [*PRESETS.values(), *(m() for m in methods.classes().values())]
)
def test_no_leaf_name_is_used_twice(settings):
    def leaves(value):
        from dataclasses import fields, is_dataclass

        for f in fields(value):
            inner = getattr(value, f.name)
            yield from leaves(inner) if is_dataclass(inner) else [f.name]

    names = list(leaves(settings))
    assert len(names) == len(set(names))


def test_a_requirement_says_what_was_given():
    require(True, "never", 0, "shown")
    with pytest.raises(SettingsError, match=r"^k must be positive; got -1\. Try 1\.$"):
        require(False, "k must be positive", -1, "Try 1.")


@dataclass(frozen=True)
class Choices:
    mode: Literal["mean", "sum"] = setting("mean", "a mode", affects="scores")
    sort_by: Literal["name", "size"] | None = None
    level: int = 3

    def __post_init__(self) -> None:
        validate_settings(self)


@pytest.mark.parametrize("values", [{}, {"mode": "sum"}, {"sort_by": "size", "level": 4}])
def test_choices_of_a_literal_field_are_accepted(values):
    Choices(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "meen"}, "Unknown mode 'meen'. Did you mean 'mean'"),
        ({"mode": None}, "Unknown mode None. Known: mean, sum"),
        ({"sort_by": "nmae"}, "Unknown sort by 'nmae'. Did you mean 'name'"),
    ],
)
def test_other_values_of_a_literal_field_are_refused(values, message):
    with pytest.raises(SettingsError, match=message):
        Choices(**values)


def test_a_setting_says_what_it_affects():
    stages = {f.name: f.metadata.get("affects") for f in fields(Choices)}
    assert stages == {"mode": "scores", "sort_by": None, "level": None}
