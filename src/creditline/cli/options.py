"""Click options made from settings dataclasses, so that no setting is described twice.

Nested dataclasses are flattened: every leaf is an option under its own name, with the help of its
field. Options that are not given keep the value of the settings that they override.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from creditline.bounds import Bounds
from creditline.cli.sections import option
from creditline.errors import unknown

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class SettingLeaf:
    """One setting.

    Attributes:
        name: of its field.
        hint: its type.
        defaults: its default in each class that has it, without repetition.
        help: one line.
        group: field that holds its dataclass; empty at the top.
        choices: returns the names that are allowed; None: the type decides.
        bounds: of a number.
        affects: first stage of attribution that changes with it; see `setting`.
    """

    name: str
    hint: Any
    defaults: tuple[Any, ...]
    help: str
    group: str
    choices: Callable[[], Iterable[str]] | None = None
    bounds: Bounds | None = None
    affects: str | None = None


def leaves(*settings: Any) -> dict[str, SettingLeaf]:
    """Every leaf setting of one or more settings instances, by name, in order.

    Args:
        settings: instances; where several have a leaf, they share the option.
    """
    merged: dict[str, SettingLeaf] = {}
    for instance in settings:
        for leaf in _leaves(instance):
            known = merged.get(leaf.name)
            defaults = (*known.defaults, *leaf.defaults) if known else leaf.defaults
            unique = tuple(d for i, d in enumerate(defaults) if d not in defaults[:i])
            merged[leaf.name] = dataclasses.replace(known or leaf, defaults=unique)
    return merged


def _leaves(instance: Any, group: str = "", affects: str | None = None) -> Iterable[SettingLeaf]:
    hints = typing.get_type_hints(type(instance))
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        stage = affects or field.metadata.get("affects")
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, field.name, stage)
        else:
            names = ("help", "choices", "bounds")
            text, choices, bounds = (field.metadata.get(name) for name in names)
            yield SettingLeaf(
                *(field.name, hints[field.name], (value,), text or "", group),
                *(choices, bounds, stage),
            )


def settings_options(
    *settings: Any,
    section: str = "Settings",
    leave_out: Iterable[str] = (),
    default: str | None = None,
) -> Callable[[F], F]:
    """Decorate a command with one option per leaf of the settings.

    Args:
        settings: instances whose values are shown as defaults.
        section: heading in the help for what is not in a nested dataclass, which has its own.
        leave_out: leaves without an option.
        default: shown instead of the values, where they depend on something else; empty to show
            nothing.
    """
    options = [leaf for name, leaf in leaves(*settings).items() if name not in set(leave_out)]

    def decorate(command: F) -> F:
        for leaf in reversed(options):
            command = _option(leaf, leaf.group.capitalize() or section, default)(command)
        return command

    return decorate


def given_settings(*settings: Any) -> dict[str, Any]:
    """Return the settings that were given as options of the current command, for `override`."""
    context = click.get_current_context()
    return {
        name: context.params[name]
        for name in leaves(*settings)
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }


def flag(name: str) -> str:
    """Return the option of a setting, as typed."""
    return "--" + name.replace("_", "-")


def _option(leaf: SettingLeaf, section: str, default: str | None) -> Callable[[F], F]:
    default_text = (
        " or ".join(_format(value) for value in leaf.defaults) if default is None else default
    )
    notes = [
        f"default: {default_text}" if default_text else "",
        "" if leaf.bounds is None else leaf.bounds.help,
    ]
    note = "; ".join(filter(None, notes))
    text = f"{leaf.help}  [{note}]" if note else leaf.help
    if leaf.hint is bool:
        yes, no = flag(leaf.name), flag(f"no_{leaf.name}")
        return option(f"{yes}/{no}", leaf.name, default=None, help=text, section=section)
    if leaf.choices is not None:
        kind: click.ParamType = NameChoice(leaf.name.replace("_", " "), leaf.choices())
    else:
        kind = parameter(leaf.name, leaf.hint, leaf.bounds)
    return option(flag(leaf.name), leaf.name, type=kind, help=text, section=section)


def _format(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value in ("", ()):
        return "none"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def parameter(name: str, hint: Any, bounds: Bounds | None = None) -> click.ParamType:
    """The click type of a setting.

    Raises:
        TypeError: for a type that has no form on the command line; a fault of the dataclass.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return NameChoice(name.replace("_", " "), inner)
    if origin in (typing.Union, types.UnionType) and type(None) in inner and len(inner) == 2:
        return ListType(
            parameter(name, next(h for h in inner if h is not type(None)), bounds), None
        )
    if origin is tuple and len(inner) == 2 and inner[1] is Ellipsis:
        return ListType(parameter(name, inner[0], bounds), ())
    if hint in (int, float):
        return NumberType(bounds or Bounds(), integer=hint is int)
    if hint is str:
        return click.STRING
    raise TypeError(f"Setting {name!r} of type {hint} has no form on the command line.")


class NameChoice(click.Choice):
    """One of a few names; a wrong one is answered with the nearest."""

    def __init__(self, kind: str, names: Iterable[str]) -> None:
        super().__init__(list(names))
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            raise unknown(self.kind, value, self.choices)
        return str(value)


class NumberType(click.ParamType):
    """A number within bounds.

    Args:
        bounds: its range.
        integer: whether it is a whole number.
    """

    def __init__(self, bounds: Bounds, integer: bool = True) -> None:
        self.bounds, self.integer = bounds, integer
        self._inner = click.INT if integer else click.FLOAT
        self.name = self._inner.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = self._inner.convert(value, param, ctx)
        option = "The number" if param is None else param.opts[0]
        self.bounds.check(option, number, self.integer, "See --help.")
        return number


class ListType(click.ParamType):
    """`none`, or a value; values separated by commas where nothing is an empty tuple."""

    def __init__(self, inner: click.ParamType, nothing: tuple[()] | None) -> None:
        self.inner, self.nothing = inner, nothing
        self.name = inner.name if nothing is None else f"{inner.name},..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value is self.nothing or value in ("", "none"):
            return self.nothing
        if self.nothing is None:
            return self.inner.convert(value, param, ctx)
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(self.inner.convert(part, param, ctx) for part in parts)
