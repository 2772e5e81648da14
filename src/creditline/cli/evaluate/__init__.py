"""`creditline evaluate`: a group of evaluations, one module each."""

from __future__ import annotations

import click

from creditline.cli.lazy import LazyGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "retrain": (
        "creditline.cli.evaluate.retrain",
        "Retrain on subsets: the ground truth of attribution methods.",
    ),
    "lds": (
        "creditline.cli.evaluate.lds",
        "LDS: do scores predict the losses of models retrained on subsets?",
    ),
    "counterfactual": (
        "creditline.cli.evaluate.counterfactual",
        "Do images change when their most influential training images are removed?",
    ),
    "reliability": (
        "creditline.cli.evaluate.reliability",
        "Do scores agree with those of fresh noise?",
    ),
    "self-retrieval": (
        "creditline.cli.evaluate.self_retrieval",
        "Is a training image its own top proponent?",
    ),
    "agreement": (
        "creditline.cli.evaluate.agreement",
        "How close are projected scores to exact ones?",
    ),
}


@click.group(
    name="evaluate", cls=LazyGroup, modules=COMMANDS, plugins="creditline.commands.evaluate"
)
def command() -> None:
    """Evaluate attribution methods and their scores."""
