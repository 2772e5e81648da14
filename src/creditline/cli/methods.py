"""`creditline methods`."""

from __future__ import annotations

import dataclasses
import json

import click

from creditline import methods
from creditline.cli.console import echo
from creditline.cli.table import grid
from creditline.methods.attributor import Attributor
from creditline.settings import to_dict

TEXTS = ("name", "title", "paper", "formula", "needs", "cost")
HEADER = ("method", "score", "needs", "cost")
WIDTHS = (24, 27, 24, 19)


@click.command(name="methods")
@click.option("--json", "as_json", is_flag=True, help="print JSON, with every setting's default")
def command(as_json: bool) -> None:
    """List the attribution methods: what each computes, needs and costs.

    n images, t timesteps, k dimensions, C checkpoints; φ a projected gradient.
    """
    classes = methods.classes().values()
    if as_json:
        echo(json.dumps([_record(m) for m in classes], indent=2))
    else:
        echo(grid(HEADER, map(_row, classes), WIDTHS))
    for reason in methods.broken().values():
        echo(reason, err=True)


def _row(method: type[Attributor]) -> list[str]:
    meaning = "" if method.capabilities.causal else "\n(similarity only)"
    named = f"{method.name}\n{method.paper}{meaning}"
    return [named, method.formula.replace(",  ", "\n"), method.needs, method.cost]


def _record(method: type[Attributor]) -> dict[str, object]:
    texts = {name: getattr(method, name) for name in TEXTS}
    capabilities = dataclasses.asdict(method.capabilities)
    return {**texts, "capabilities": capabilities, "settings": to_dict(method())}
