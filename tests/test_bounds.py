"""Ranges of numbers: what they say, what they admit, and that every numeric setting has one."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from importlib import import_module
from pkgutil import walk_packages

import numpy as np
import pytest

import creditline
import creditline_research
from creditline.bounds import COUNT, DRAWS, FRACTION, NOT_NEGATIVE, POSITIVE, SEED, Bounds
from creditline.errors import SettingsError
from creditline.settings import numeric_type

NAN, INF = float("nan"), float("inf")


def settings_classes() -> list[type]:
    """Every dataclass with settings, in every module."""
    classes = {}
    for package in (creditline, creditline_research):
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            for value in vars(import_module(module.name)).values():
                if not (isinstance(value, type) and dataclasses.is_dataclass(value)):
                    continue
                fields = dataclasses.fields(value)
                if not inspect.isabstract(value) and any("help" in f.metadata for f in fields):
                    classes[f"{value.__module__}.{value.__qualname__}"] = value
    return [classes[name] for name in sorted(classes)]


def numeric_settings() -> list[tuple[type, dataclasses.Field, type]]:
    """Class, field and `int` or `float` of every numeric setting."""
    return [
        (cls, f, kind)
        for cls in settings_classes()
        for f in dataclasses.fields(cls)
        if "help" in f.metadata
        and (kind := numeric_type(typing.get_type_hints(cls)[f.name])) is not None
    ]


def outside(bounds: Bounds, integer: bool) -> list[float]:
    """Numbers that a setting must not take."""
    numbers: list[float] = [] if integer else [NAN, -INF]
    if not integer and not bounds.infinite:
        numbers.append(INF)
    low = -1 if bounds.low is None else bounds.low
    numbers += [low if bounds.open_low else low - 1, low - 1]
    if bounds.high is not None:
        numbers += [bounds.high if bounds.open_high else bounds.high + 1]
    return [number for number in numbers if number not in bounds]


def test_every_numeric_setting_states_its_range():
    missing = [f"{cls.__name__}.{f.name}" for cls, f, _ in numeric_settings() if not _bounds(f)]
    assert len(numeric_settings()) > 80
    assert missing == []


def test_every_default_lies_in_its_range():
    for _, field, _ in numeric_settings():
        values = field.default if isinstance(field.default, tuple) else [field.default]
        assert all(value is None or value in _bounds(field) for value in values), field.name


@pytest.mark.slow
@pytest.mark.parametrize("cls", settings_classes(), ids=lambda cls: cls.__name__)
def test_no_numeric_setting_takes_a_number_outside(cls):
    for owner, field, kind in numeric_settings():
        if owner is not cls:
            continue
        wrong: list[object] = [*outside(_bounds(field), kind is int), "3", True]
        wrong += [1.5] if kind is int else []
        for number in wrong:
            value = (number,) if isinstance(field.default, tuple) else number
            with pytest.raises(SettingsError, match=f"{field.name} must"):
                cls(**{field.name: value})


def test_a_tuple_that_needs_numbers_refuses_none():
    from creditline.diffusion.config import UNetConfig

    with pytest.raises(SettingsError, match="channels are one or more numbers"):
        UNetConfig(channels=())


@pytest.mark.parametrize(
    ("bounds", "inside", "beyond", "text"),
    [
        (COUNT, [1, 10**9], [0, -1, NAN, INF], "be at least 1"),
        (NOT_NEGATIVE, [0, 0.5], [-1, NAN, INF], "not be negative"),
        (POSITIVE, [1e-300], [0, -1, NAN, INF], "be positive"),
        (FRACTION, [0, 1], [-1e-9, 1.01, NAN], "be in [0, 1]"),
        (SEED, [0, 2**63 - 1], [-1, 2**63], "not be negative"),
        (DRAWS, [1, 100_000], [0, 100_001], "be in [1, 100,000]"),
        (Bounds(1, infinite=True), [1, INF], [0.9, NAN, -INF], "be at least 1"),
        (Bounds(0, 1, True, True), [0.5], [0, 1], "be in (0, 1)"),
        (Bounds(high=5), [-1e9, 5], [6], "be at most 5"),
        (Bounds(), [-5, 0], [NAN, INF, -INF], "be a finite number"),
    ],
)
def test_a_range_admits_what_it_says(bounds, inside, beyond, text):
    assert all(number in bounds for number in inside)
    assert not any(number in bounds for number in beyond)
    assert str(bounds) == text


def test_numbers_of_numpy_are_numbers():
    COUNT.check("n", np.int64(3), integer=True, remedy="")
    POSITIVE.check("x", np.float32(0.5), integer=False, remedy="")


def test_a_seed_that_no_generator_takes_is_refused_with_the_limit():
    with pytest.raises(SettingsError, match=r"seed must be below 2\^63; got 1000"):
        SEED.check("seed", 10**30, integer=True, remedy="Try 0.")


def test_an_integer_too_large_for_a_float_is_compared_exactly():
    assert 10**400 in COUNT
    assert -(10**400) not in COUNT


def _bounds(field: dataclasses.Field) -> Bounds:
    return field.metadata["bounds"]
