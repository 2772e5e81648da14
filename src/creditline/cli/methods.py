"""`creditline methods`."""

from __future__ import annotations

import json

import click

from creditline.cli.table import grid
from creditline.methods import METHODS, Method
from creditline.settings import to_dict

FACTS = ("paper", "formula", "needs", "cost")
HEADER = ("method", "score", "needs", "cost")
WIDTHS = (24, 27, 24, 19)


@click.command(name="methods")
@click.option("--json", "as_json", is_flag=True, help="print JSON, with every setting's default")
def command(as_json: bool) -> None:
    """List the attribution methods: what each computes, needs and costs.

    n images, t timesteps, k dimensions, C checkpoints; φ a projected gradient.
    """
    if as_json:
        click.echo(json.dumps([_record(m) for m in METHODS.values()], indent=2, ensure_ascii=False))
        return
    click.echo(grid(HEADER, map(_row, METHODS.values()), WIDTHS))


def _row(method: type[Method]) -> list[str]:
    kind = "" if method.causal else "\n(likeness only)"
    named = f"{method.name}\n{method.paper}{kind}"
    return [named, method.formula.replace(",  ", "\n"), method.needs, method.cost]


def _record(method: type[Method]) -> dict[str, object]:
    described = {name: getattr(method, name) for name in ("name", "title", *FACTS, "causal")}
    return {**described, "settings": to_dict(method())}
