"""`creditline evaluate`: a group of checks, one module each."""

from __future__ import annotations

import click

from creditline.cli.lazy import LazyGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "retrain": (
        "creditline.cli.evaluate.retrain",
        "Retrain on subsets: the ground truth that attributions are judged by.",
    ),
    "lds": (
        "creditline.cli.evaluate.lds",
        "Do scores predict what happens when the model is retrained on subsets?",
    ),
    "counterfactual": (
        "creditline.cli.evaluate.counterfactual",
        "Do pictures change when their most influential images are left out?",
    ),
    "reliability": (
        "creditline.cli.evaluate.reliability",
        "Would scores come out the same with fresh noise?",
    ),
    "self-retrieval": (
        "creditline.cli.evaluate.self_retrieval",
        "Does a training image come back as its own proponent?",
    ),
    "agreement": (
        "creditline.cli.evaluate.agreement",
        "How close do projected scores come to exact ones?",
    ),
}


@click.group(
    name="evaluate", cls=LazyGroup, modules=COMMANDS, plugins="creditline.commands.evaluate"
)
def command() -> None:
    """Check whether attributions tell the truth."""
