"""One frozen dataclass per group of settings; it feeds the API, the command line and manifests."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Literal, TypeVar

from creditline.bounds import Bounds
from creditline.errors import SettingsError, unknown

T = TypeVar("T")

Stage = Literal["features", "factors", "scores"]
"""A stage of attribution, in order: each is computed from the one before it and cached."""


def setting(
    default: Any,
    help: str,
    *,
    affects: Stage | None = None,
    choices: Callable[[], Iterable[str]] | None = None,
    bounds: Bounds | None = None,
) -> Any:
    """A dataclass field with a one-line explanation that `--help` and the docs show.

    Args:
        default: value of the field.
        help: one line.
        affects: first stage that changes with the value. `"features"`: the index has to be built
            again. `"factors"`: features stay valid; cached factors are computed again.
            `"scores"`: cached factors stay valid too. None: the setting is not about attribution.
        choices: returns the names that are allowed, for names that other packages may add.
        bounds: range of a number, or of each number of a tuple.
    """
    metadata = {"help": help, "affects": affects, "choices": choices, "bounds": bounds}
    return dataclasses.field(default=default, metadata=metadata)


def validate_settings(settings: object) -> None:
    """Check every field that has choices (a `Literal` type, or `choices`) or is a number.

    Call it first in `__post_init__`; the field then states choices and range once, for the API, the
    command line and its help.

    Raises:
        SettingsError: naming the nearest choice, or the range.
    """
    cls: Any = type(settings)  # mypy takes a class with instances' __hash__ for unhashable
    registered = {
        f.name: tuple(f.metadata["choices"]())
        for f in dataclasses.fields(cls)
        if f.metadata.get("choices")
    }
    for name, choices in {**_choices(cls), **registered}.items():
        value = getattr(settings, name)
        if value not in choices:
            known = [choice for choice in choices if choice is not None]
            raise unknown(name.replace("_", " "), value, known)
    for f in dataclasses.fields(cls):
        hint, value = _hints(cls)[f.name], getattr(settings, f.name)
        kind = numeric_type(hint) if "help" in f.metadata else None
        if kind is not None and not (value is None and type(None) in typing.get_args(hint)):
            _check_numbers(f, value, kind)


def _check_numbers(field: dataclasses.Field, value: Any, kind: type) -> None:
    """Check a number, or each of a tuple, against the bounds of its field."""
    bounds = field.metadata.get("bounds") or Bounds()
    if isinstance(field.default, tuple):
        require(
            isinstance(value, (tuple, list)) and (len(value) > 0 or not field.default),
            f"{field.name} are one or more numbers",
            value,
            "Leave it out for the default.",
        )
        for item in value:
            bounds.check(f"each of {field.name}", item, kind is int, "Leave it out.")
        return
    remedy = "Leave it out." if field.default is None else f"Try {field.default}."
    bounds.check(field.name, value, kind is int, remedy)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def numeric_type(hint: Any) -> type | None:
    """`int` or `float` for a number, an optional one or a tuple of them; else None."""
    if hint in (int, float):
        return hint
    if typing.get_origin(hint) in (typing.Union, types.UnionType, tuple):
        kinds = {h for h in typing.get_args(hint) if h not in (type(None), Ellipsis)}
        return kinds.pop() if kinds in ({int}, {float}) else None
    return None


@cache
def _choices(cls: type) -> dict[str, tuple[Any, ...]]:
    """The choices of each `Literal` field; None is one of them where the field is optional."""
    choices = {}
    for name, hint in _hints(cls).items():
        members = _members(hint)
        if members:
            choices[name] = members
    return choices


def _members(hint: Any) -> tuple[Any, ...]:
    """The values of a `Literal`; with None where it is optional; empty for other types."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return inner
    if origin in (typing.Union, types.UnionType):
        rest = [h for h in inner if h is not type(None)]
        if len(rest) == 1 and typing.get_origin(rest[0]) is Literal:
            return (*typing.get_args(rest[0]), None)
    return ()


def group(make: Callable[[], Any], *, affects: Stage | None = None) -> Any:
    """A dataclass field that holds a group of settings.

    Args:
        make: returns the default group, such as its class.
        affects: as in `setting`, for all of the group.
    """
    return dataclasses.field(default_factory=make, metadata={"affects": affects})


def affecting(settings: Any, *stages: Stage) -> dict[str, Any]:
    """The settings that affect one of some stages first, JSON-ready, by field name.

    A setting that does not say what it affects is taken to affect factors.
    """
    names = {
        f.name
        for f in dataclasses.fields(settings)
        if (f.metadata.get("affects") or "factors") in stages
    }
    return {name: value for name, value in describe(settings).items() if name in names}


def describe(settings: Any) -> dict[str, Any]:
    """Settings as `to_dict`, with callables replaced by their names."""
    return {
        key: getattr(value, "__qualname__", type(value).__qualname__) if callable(value) else value
        for key, value in to_dict(settings).items()
    }


def to_dict(settings: Any) -> dict[str, Any]:
    """A JSON-ready dictionary of a settings dataclass, nested ones included; tuples become lists.

    Raises:
        SettingsError: if `settings` is not a dataclass instance.
    """
    if not dataclasses.is_dataclass(settings) or isinstance(settings, type):
        raise SettingsError(
            f"Settings are dataclass instances; got {type(settings).__name__}. "
            "Pass one of Creditline's settings classes."
        )
    return {f.name: _plain(getattr(settings, f.name)) for f in dataclasses.fields(settings)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value


def from_dict(cls: type[T], values: Mapping[str, Any]) -> T:
    """The settings of class `cls` that `to_dict` turned into `values`.

    Raises:
        SettingsError: on a key that `cls` does not have.
    """
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise unknown(f"{cls.__name__} setting", key, known)
    try:
        return cls(**{key: _revive(key, hints[key], value) for key, value in values.items()})
    except (TypeError, AttributeError, OverflowError) as error:
        raise SettingsError(
            f"The settings of {cls.__name__} have a value of a wrong type: {error}. Give what "
            "Creditline wrote."
        ) from error


def _revive(name: str, hint: Any, value: Any) -> Any:
    """A value of a setting that was JSON.

    Raises:
        SettingsError: if it has another type than the setting.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        others = [h for h in inner if h is not type(None)]
        return _revive(name, others[0], value) if len(others) == 1 else value
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if isinstance(value, hint):
            return value
        _require_type(name, isinstance(value, Mapping), "settings by name", value)
        return from_dict(hint, value)
    if origin is tuple:
        _require_type(name, isinstance(value, (list, tuple)), "a list", value)
        repeated = len(inner) == 2 and inner[1] is Ellipsis
        kinds = [inner[0]] * len(value) if repeated else list(inner)
        _require_type(name, len(kinds) == len(value), f"a list of {len(kinds)}", value)
        return tuple(_revive(name, kind, item) for kind, item in zip(kinds, value, strict=True))
    if hint in JSON_TYPES:
        accepted = (int, float) if hint is float else hint
        is_right = isinstance(value, accepted) and (hint is bool or not isinstance(value, bool))
        _require_type(name, is_right, JSON_TYPES[hint], value)
    return value


JSON_TYPES = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}


def _require_type(name: str, condition: bool, expected: str, value: Any) -> None:
    require(condition, f"{name} is {expected}", value, "Give what Creditline wrote.")


def require(condition: bool, request: str, value: object, remedy: str) -> None:
    """Raise `SettingsError("<request>; got <value>. <remedy>")` unless `condition` holds."""
    if not condition:
        raise SettingsError(f"{request}; got {value!r}. {remedy}")


def flatten(settings: Any) -> dict[str, Any]:
    """Every leaf setting by its own name, those of nested dataclasses included."""
    leaves: dict[str, Any] = {}
    for f in dataclasses.fields(settings):
        value = getattr(settings, f.name)
        if dataclasses.is_dataclass(value):
            leaves.update(flatten(value))
        else:
            leaves[f.name] = value
    return leaves


def override(settings: T, values: Mapping[str, Any]) -> T:
    """A copy of `settings` with some leaves replaced, wherever they are nested.

    Leaf names are unique within one settings tree, so `override(DTRAK(), {"timesteps": 100})`
    needs no path. A nested dataclass can also be replaced by its field's name.

    Raises:
        SettingsError: on a name that no level has.
    """
    rest = dict(values)
    replaced = _override(settings, rest)
    if rest:
        raise unknown("setting", next(iter(rest)), flatten(settings))
    return replaced


def _override(settings: Any, rest: dict[str, Any]) -> Any:
    changes = {}
    for f in dataclasses.fields(settings):
        value = getattr(settings, f.name)
        nested = dataclasses.is_dataclass(value)
        # A group may hold a leaf of its own name: objective.objective, projection.projection.
        if f.name in rest and (not nested or dataclasses.is_dataclass(rest[f.name])):
            changes[f.name] = rest.pop(f.name)
        elif nested:
            inner = _override(value, rest)
            if inner is not value:
                changes[f.name] = inner
    return dataclasses.replace(settings, **changes) if changes else settings
