"""`creditline index`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from creditline import methods
from creditline.bounds import COUNT
from creditline.cli import images, models
from creditline.cli.console import echo
from creditline.cli.options import NumberType, flag, given_settings, leaves, settings_options
from creditline.cli.runtime import executor_options, runtime
from creditline.cli.sections import SectionedCommand
from creditline.cli.table import facts
from creditline.errors import SettingsError
from creditline.methods.attributor import Attributor
from creditline.settings import override
from creditline.units import duration, size

if TYPE_CHECKING:
    from creditline.evaluation.truth.ground_truth import GroundTruth
    from creditline.indexing.index import Index

EVERY = [cls() for cls in methods.classes().values()]
FIXED = [leaf.name for leaf in leaves(*EVERY).values() if leaf.affects == "features"]
"""Settings that an index fixes; everything else can change from query to query."""


@click.command(name="index", cls=SectionedCommand)
@click.argument("sources", nargs=-1, required=True, metavar="[MODEL]... DATA")
@click.option("--out", required=True, help="folder to write, or to continue")
@click.option(
    "--method", default=methods.DEFAULT, show_default=True, help="see `creditline methods`"
)
@executor_options
@click.option(
    "--shard-rows",
    type=NumberType(COUNT),
    help="images per task  [default: 32; on a GPU 128; without a model 512]",
)
@click.option(
    "--encoded",
    help="folder of latents and text embeddings to share  [default: in the index until complete]",
)
@click.option(
    "--curvature",
    help="folder of fitted curvature to share  [default: in the index until complete]",
)
@click.option(
    "--ground-truth",
    metavar="DIR",
    help="what `creditline evaluate retrain` wrote, for methods that learn from retrained models",
)
@click.option("--overwrite", is_flag=True, help="replace an index made from something else")
@models.parts_options
@images.masks_option
@images.image_options
@settings_options(*EVERY, section="Method")
def command(
    sources: tuple[str, ...],
    out: str,
    method: str,
    shard_rows: int | None,
    encoded: str | None,
    curvature: str | None,
    ground_truth: str | None,
    overwrite: bool,
    **_: Any,
) -> None:
    """Index the images of DATA under MODEL, so that generated images can be traced to them.

    Several MODELs of one architecture are checkpoints or an ensemble, as the method has it. Pixel
    and encoder methods take none. After an interruption, the same command continues.
    """
    recipe = configured(methods.get(method)(), given_settings(*EVERY))
    *paths, data = sources
    _require_sources(recipe, paths, data)
    from creditline import api

    denoisers = [models.load(path) for path in paths]
    training_images = images.load(data, check_shape=denoisers[0].check_shape if denoisers else None)
    before = time.monotonic()
    index = api.index(
        denoisers or None,
        training_images,
        method=recipe,
        out=out,
        ground_truth=_ground_truth(ground_truth),
        runtime=runtime(),
        shard_rows=shard_rows,
        overwrite=overwrite,
        encoded=encoded,
        curvature=curvature,
    )
    echo(summary(index, time.monotonic() - before))
    echo(f"Next:\n  creditline trace {quote(out)} IMAGE --html report.html")


def configured(method: Attributor, values: Mapping[str, Any]) -> Attributor:
    """The method with settings that the user gave.

    Raises:
        SettingsError: if the method has no such setting, naming methods that do.
    """
    mine = leaves(method)
    for name in values:
        if name not in mine:
            having = ", ".join(m.name for m in EVERY if name in leaves(m))
            raise SettingsError(
                f"{method.name} has no option {flag(name)}; it belongs to {having}. "
                "Leave it out or choose another --method."
            )
    result = override(method, values)
    result.check_given(values)
    return result


def choose_method(index: Index, method: str | None) -> Index:
    """Return the index with the method and settings of the current command."""
    result = index if method is None else index.using(method)
    changes = given_settings(*EVERY)
    return result.using(configured(result.method, changes)) if changes else result


def summary(index: Index, seconds: float) -> str:
    """What was made, for people."""
    noted = index.manifest.facts
    held = sum(file.stat().st_size for file in index.path.rglob("*") if file.is_file())
    pairs = [
        ("images", f"{index.n:,}"),
        ("method", index.method.title + (f", {index.models} models" * (index.models > 1))),
        ("dimension", f"{index.dim:,}"),
        ("disk", size(held)),
        ("time", duration(seconds)),
        ("duplicates", _duplicates(noted["duplicates"])),
        ("skipped", "; ".join(f"{name} ({why})" for name, why in noted["skipped"]) or "none"),
    ]
    return f"{index.path}\n{facts(pairs)}"


def _duplicates(groups: list[list[int]]) -> str:
    if not groups:
        return "none"
    sets = f"{len(groups):,} group{'s' * (len(groups) > 1)}"
    return f"{sum(map(len, groups)):,} images, in {sets} of equal pixels"


def _require_sources(method: Attributor, paths: list[str], data: str) -> None:
    takes_models = method.capabilities.models != "none"
    if takes_models and not paths:
        raise SettingsError(
            f"{method.name} needs a model; got only {data!r}. "
            "Write: creditline index MODEL DATA --out INDEX."
        )
    if not takes_models and paths:
        raise SettingsError(
            f"{method.name} uses no model; got {', '.join(paths)} besides the data {data!r}. "
            f"Write: creditline index DATA --out INDEX --method {method.name}."
        )


def _ground_truth(folder: str | None) -> GroundTruth | None:
    if folder is None:
        return None
    from creditline.evaluation.truth.ground_truth import GroundTruth

    return GroundTruth.read(folder)
