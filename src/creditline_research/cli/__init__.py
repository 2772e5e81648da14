"""`creditline research`: one table a command, over a shipped benchmark."""

from __future__ import annotations

import click

from creditline.cli.lazy import LazyGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "dampings": ("creditline_research.cli.dampings", "LDS of every method at every damping."),
    "curvature": (
        "creditline_research.cli.curvature",
        "LDS of EK-FAC, D-TRAK and their sum at every damping.",
    ),
    "left-out": (
        "creditline_research.cli.left_out",
        "Settings chosen on all ground truths but one, judged on that one.",
    ),
    "scores": (
        "creditline_research.cli.scores",
        "LDS of transformed scores, of the largest scores and of the rest.",
    ),
    "projections": (
        "creditline_research.cli.projections",
        "Projections of equal size against explicit gradients.",
    ),
    "layer-weights": (
        "creditline_research.cli.layer_weights",
        "Methods with and without learned weights of layers.",
    ),
}


@click.group(name="research", cls=LazyGroup, modules=COMMANDS)
def command() -> None:
    """Make the tables of our own studies."""
