"""Advice that the command in hand can follow: options of other commands are named with theirs.

Messages of the library name options, and do not know which command raised them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from creditline.cli.lazy import PATH

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def complete_advice(message: str, group: click.Group, context: click.Context) -> str:
    """Return a message in which options that the command lacks are named with one that has them.

    Args:
        message: of an error.
        group: all commands.
        context: of the group, with the command line.
    """
    named = list(dict.fromkeys(OPTION.findall(message)))
    if not named:
        return message
    everything = dict(all_options(group, context))
    own = everything.get(context.meta.get(PATH, ""))
    if own is None:
        return message
    notes = []
    for option in named:
        if option in own:
            continue
        having = [path for path, options in everything.items() if option in options]
        if having and not any(f"creditline {path}" in message for path in having):
            notes.append(f"{option} is an option of `creditline {_first(having)}`.")
    return " ".join([message, *notes])


def all_options(group: click.Group, context: click.Context) -> Iterator[tuple[str, set[str]]]:
    """Yield every command's path, such as `evaluate lds`, and its options."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            for path, options in all_options(command, context):
                yield f"{name} {path}", options
        elif command is not None:
            yield name, command_options(command)


def command_options(command: click.Command) -> set[str]:
    """Every option of a command, its negations included."""
    return {"--help"} | {
        option
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }


def _first(paths: list[str]) -> str:
    """The command that most people mean: `index`, where it is among them."""
    return next((path for path in ("index", "trace", "train") if path in paths), paths[0])
