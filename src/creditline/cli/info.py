"""`creditline info`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from creditline.cli.console import echo
from creditline.cli.table import facts
from creditline.units import size

# A list too long to read.
COUNTED = "duplicates"


@click.command(name="info")
@click.argument("index")
@click.option("--digest", is_flag=True, help="also hash everything stored; equal indexes agree")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def command(index: str, digest: bool, as_json: bool) -> None:
    """Show what INDEX was made from."""
    from creditline import api

    opened = api.open_index(index)
    info = opened.info()
    if digest:
        info["digest"] = opened.digest()
    if as_json:
        echo(json.dumps(info, indent=2, default=str))
        return
    echo(format_info(info))


def format_info(info: Mapping[str, Any]) -> str:
    """Format plain values first, then a block for every section."""
    plain = [(k, v) for k, v in info.items() if not isinstance(v, Mapping)]
    top = [
        (k.replace("bytes on ", ""), size(v)) if k.startswith("bytes") else (k, _text(v))
        for k, v in plain
    ]
    blocks = [facts(top, indent=0)]
    for name, section in info.items():
        if isinstance(section, Mapping):
            blocks.append(f"{name}\n{facts(_flat(section))}")
    return "\n\n".join(blocks)


def _flat(section: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield leaves under their own names, which are unique within a section."""
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        elif key == COUNTED:
            yield key, f"{len(value):,}"
        else:
            yield key.replace("_", " "), _text(value)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_text(v)}" for k, v in value.items() if v is not None)
    if isinstance(value, (list, tuple)):
        plain = not any(isinstance(item, (list, tuple, Mapping)) for item in value)
        return (", " if plain else "; ").join(map(_text, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None or value == "" else str(value)
