"""`creditline doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from creditline import methods
from creditline.bounds import COUNT, POSITIVE
from creditline.cli import images, models
from creditline.cli.console import echo
from creditline.cli.index import configured
from creditline.cli.options import NumberType, given_settings, settings_options
from creditline.cli.runtime import executor_options, runtime
from creditline.cli.sections import SectionedCommand
from creditline.diffusion.encoding_config import EncodingConfig
from creditline.errors import SettingsError
from creditline.methods.attributor import Attributor

if TYPE_CHECKING:
    from creditline.doctor.estimate import CostEstimate

SHAPE_OPTIONS = ("lora_rank", "flops_per_second", "bytes_per_second")
"""Options of `--shapes` alone."""
GRADIENT = [cls() for cls in methods.classes().values() if cls.capabilities.features == "gradients"]


@click.command(name="doctor", cls=SectionedCommand)
@click.argument("model")
@click.argument("data", required=False)
@click.option(
    "--method", default=methods.DEFAULT, show_default=True, help="see `creditline methods`"
)
@click.option(
    "--samples", type=NumberType(COUNT), default=4, show_default=True, help="images to examine"
)
@click.option(
    "--images", "n", type=NumberType(COUNT), help="images of the estimate  [default: all, or 10000]"
)
@click.option("--out", default=".", show_default=True, help="folder of the index")
@click.option("--shapes", is_flag=True, help="estimate from MODEL's config alone, without weights")
@click.option(
    "--lora-rank", type=NumberType(COUNT), help="with --shapes: rank of an adapter on all attention"
)
@click.option(
    "--flops-per-second",
    type=NumberType(POSITIVE, integer=False),
    help="with --shapes: speed of another device, such as 1e14",
)
@click.option(
    "--bytes-per-second",
    type=NumberType(POSITIVE, integer=False),
    help="with --shapes: speed of its memory",
)
@executor_options
@models.parts_options
@images.image_options
@settings_options(*GRADIENT, section="Method")
def command(
    model: str,
    data: str | None,
    method: str,
    samples: int,
    n: int | None,
    out: str,
    shapes: bool,
    **others: Any,
) -> None:
    """Examine MODEL (and its training images DATA) before a long index.

    Checks whether gradients are exact, finite, repeatable and independent of their batch, and which
    parameters they cover. Then estimates time and disk of an index from a few images. The exit code
    is 1 if a check fails. Without DATA, random images are used.

    With --shapes nothing is loaded or examined: parameters, memory and time per evaluation are
    estimated from the network's config.json.
    """
    recipe = configured(methods.get(method)(), given_settings(*GRADIENT))
    if shapes:
        echo(str(_estimated(model, data, recipe, others)))
        return
    for name in SHAPE_OPTIONS:
        if others[name] is not None:
            raise SettingsError(f"--{name.replace('_', '-')} is for --shapes. Add it.")
    from creditline.doctor import diagnose

    diagnosis = diagnose(
        models.load(model),
        None if data is None else images.load(data),
        method=recipe,
        samples=samples,
        n=n,
        runtime=runtime(),
        out=out,
    )
    echo(str(diagnosis))
    if diagnosis.failed:
        click.get_current_context().exit(1)


def _estimated(
    model: str, data: str | None, recipe: Attributor, values: dict[str, Any]
) -> CostEstimate:
    """Estimate the cost with the options of `--shapes`."""
    if data is not None:
        raise SettingsError("From shapes alone no images are examined. Leave DATA out.")
    from creditline.doctor.estimate import estimate

    encoding = given_settings(EncodingConfig())
    unused = sorted(set(encoding) - {"side", "prompt_tokens"})
    if unused:
        raise SettingsError(f"From shapes alone nothing is encoded. Leave out {', '.join(unused)}.")
    return estimate(
        model, method=recipe, **encoding, **{name: values[name] for name in SHAPE_OPTIONS}
    )
