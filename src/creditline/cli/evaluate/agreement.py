"""`creditline evaluate agreement`."""

from __future__ import annotations

from typing import Any

import click

from creditline.cli import images, models
from creditline.cli.console import echo
from creditline.cli.options import given_settings, settings_options
from creditline.cli.runtime import runtime
from creditline.cli.sections import SectionedCommand
from creditline.cli.table import table
from creditline.evaluation.agreement import AgreementConfig, check_agreement
from creditline.settings import override


@click.command(name="agreement", cls=SectionedCommand)
@click.argument("model")
@click.argument("data")
@models.parts_options
@images.image_options
@settings_options(AgreementConfig(), section="Check")
def command(model: str, data: str, **_: Any) -> None:
    """How close do projected scores come to exact ones?"""
    settings = override(AgreementConfig(), given_settings(AgreementConfig()))
    denoiser = models.load(model)
    training_images = images.load(data, check_shape=denoiser.check_shape)
    rows = check_agreement(denoiser, training_images, settings, runtime())
    cells = [[row.method, row.comparison, f"{row.value:.4g}"] for row in rows]
    echo(table(["method", "comparison", "value"], cells, right=[2]))
