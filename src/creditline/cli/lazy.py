"""A group whose commands are imported when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import click

from creditline.errors import unknown

PATH = "creditline.path"
"""Key of a context's `meta`: names of the command in hand, such as `evaluate lds`."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and module.

    Args:
        modules: module and summary of each command, by name. A module holds a click command named
            `command`. It is imported only when that command runs, because most modules need torch.
        plugins: entry-point group in which other packages register further commands. An entry
            point is named as its command and leads to such a pair of module and summary.
    """

    def __init__(
        self,
        *args: Any,
        modules: Mapping[str, tuple[str, str]] | None = None,
        plugins: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.modules = modules or {}
        self.plugins = plugins

    @cached_property
    def all_modules(self) -> dict[str, tuple[str, str]]:
        """Module and summary of every command, those of other packages last."""
        points = () if self.plugins is None else entry_points(group=self.plugins)
        registered = {point.name: point.load() for point in sorted(points, key=lambda p: p.name)}
        return {**self.modules, **{k: v for k, v in registered.items() if k not in self.modules}}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.all_modules)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        # Built-in commands do not wait for the metadata of all installed packages.
        known = self.modules if name in self.modules else self.all_modules
        return import_module(known[name][0]).command if name in known else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise unknown("command", args[0], self.all_modules)
        name, command, rest = super().resolve_command(ctx, args)
        ctx.meta[PATH] = f"{ctx.meta.get(PATH, '')} {name}".strip()
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.all_modules.items()])
