"""`creditline evaluate counterfactual`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from creditline.bounds import COUNT
from creditline.cli import images
from creditline.cli.console import echo
from creditline.cli.options import NumberType, given_settings, settings_options
from creditline.cli.runtime import device_option, executor_options, runtime
from creditline.cli.sections import SectionedCommand
from creditline.cli.table import table
from creditline.errors import IndexMismatchError, SettingsError
from creditline.evaluation.counterfactual.experiment import (
    SHEET,
    CounterfactualConfig,
    run_counterfactual,
)
from creditline.evaluation.counterfactual.images import RESULT
from creditline.evaluation.counterfactual.result import MetricEstimate, RemovalSummary
from creditline.settings import override

if TYPE_CHECKING:
    from creditline.data.image_set import ImageSet
    from creditline.indexing.index import Index


@click.command(name="counterfactual", cls=SectionedCommand)
@click.argument("run")
@click.argument("data")
@click.option(
    "--targets",
    multiple=True,
    required=True,
    help="folder of images that the model of RUN generated, images of one, or a .txt file beside "
    "it that lists some, one path per line; repeat for several",
)
@click.option(
    "--index", "indexes", multiple=True, required=True, help="index of DATA; repeat for several"
)
@click.option(
    "--method",
    "names",
    multiple=True,
    help="method that chooses the removed images, on the first index that has its features; "
    "repeat for several  [default: the method of each index]",
)
@click.option("--out", required=True, help="folder of the results to write, or to continue")
@click.option("--base", help="model that RUN started from, if it moved")
@click.option("--encoder", help="CLIP or DINO folder; adds the cosine of its embeddings")
@click.option(
    "--threads",
    type=NumberType(COUNT),
    default=1,
    show_default=True,
    help="CPU threads of each training; must be those of RUN for a retraining without removal to "
    "reproduce its images",
)
@executor_options
@click.option("--overwrite", is_flag=True, help="replace results of other settings")
@device_option
@images.image_options
@settings_options(CounterfactualConfig(), section="Removal")
def command(
    run: str,
    data: str,
    targets: tuple[str, ...],
    indexes: tuple[str, ...],
    names: tuple[str, ...],
    out: str,
    base: str | None,
    encoder: str | None,
    overwrite: bool,
    **_: Any,
) -> None:
    """Do generated images change when their most influential training images are removed?

    Removes from DATA the images with the largest scores for each target by each method, retrains
    the model of RUN with the same settings and seed, and generates the target again from the same
    noise. This takes one retraining per target, method and number of images; with --together, one
    for all targets. The command may be interrupted; the same command continues.
    """
    settings = override(CounterfactualConfig(), given_settings(CounterfactualConfig()))
    from creditline import api
    from creditline.diffusion.load import load_model
    from creditline.evaluation.counterfactual.training_config import read_training_config
    from creditline.features.encoder import load_encoder

    image_set = images.load(data)
    config, start = read_training_config(run, image_set, base)
    target_files = [path for place in targets for path in _expand_list(place)]
    model = load_model(run).fingerprint
    opened = [
        _check_index(api.open_index(path, runtime=runtime()), image_set, model) for path in indexes
    ]
    result = run_counterfactual(
        image_set,
        target_files,
        score_targets(opened, names, target_files),
        Path(out),
        config=config,
        model=model,
        base=start,
        settings=settings,
        encoder=None if encoder is None else load_encoder(encoder, runtime().main_device),
        runtime=runtime(),
        overwrite=overwrite,
    )
    echo(format_summaries(result.summaries()))
    echo(
        f"{Path(out) / RESULT} contains the values of every image, {Path(out) / SHEET} shows some."
    )


def _expand_list(path: str) -> list[str]:
    """Return the paths that a text file lists, or the path itself."""
    file = Path(path)
    if file.suffix.lower() != ".txt":
        return [path]
    lines = (line.strip() for line in file.read_text("utf-8").splitlines())
    return [str(file.parent / line) for line in lines if line]


def score_targets(
    indexes: Sequence[Index], names: Sequence[str], targets: Any
) -> dict[str, np.ndarray]:
    """Score the targets by each method, float64 of shape `(m, n)`.

    Raises:
        SettingsError: if two indexes score by the same method, and none was chosen.
        IndexMismatchError: if no index has the features of a method.
    """
    scores: dict[str, np.ndarray] = {}
    for index in [_find_index(indexes, name) for name in names] or indexes:
        name = index.method.name
        if name in scores:
            raise SettingsError(
                f"{name} would be used twice. Give one index per method, or each --method once."
            )
        scores[name] = index.scores(targets)
    return scores


def _find_index(indexes: Sequence[Index], name: str) -> Index:
    """Return the first index with the features of a method.

    Raises:
        IndexMismatchError: if there is none.
    """
    errors = []
    for index in indexes:
        try:
            return index.using(name)
        except IndexMismatchError as error:
            errors.append(error)
    raise errors[0]


def _check_index(index: Index, images: ImageSet, model: str) -> Index:
    """Check that an index has these images and, if it has models, this model."""
    indexed = index.manifest.request["images"]
    if indexed["fingerprint"] != images.fingerprint:
        raise IndexMismatchError(
            f"{index.path} is of {indexed['n']:,} images that are not those of {images.source} "
            f"({len(images):,}), or in another order. Give the data that was indexed, with the "
            "same options."
        )
    models = [entry["fingerprint"] for entry in index.manifest.request["models"]]
    if models and model not in models:  # indexes of pixels and embeddings have no model
        raise IndexMismatchError(
            f"{index.path} is of another model than RUN, so its scores do not describe the model "
            "of RUN. Give an index of RUN."
        )
    return index


def format_summaries(summaries: Sequence[RemovalSummary]) -> str:
    """Format a table of medians with intervals and its legend."""
    cosine = any("cosine" in summary.metrics for summary in summaries)
    controls = any(summary.over_controls is not None for summary in summaries)
    header = ["removed by", "k", "images", "l2, median", "over random", "mse", "ssim"]
    header += ["cosine"] if cosine else []
    header += ["over controls"] if controls else []
    rows = [list(_cells(summary, cosine, controls)) for summary in summaries]
    count = summaries[0].targets
    targets = "1 target" if count == 1 else f"{count} targets"
    return (
        f"{table(header, rows, right=range(1, len(header)))}\n"
        f"Medians over {targets} with 95 % intervals; l2 is the norm of the change, of "
        "pixels in [-1, 1]."
    )


def _cells(summary: RemovalSummary, cosine: bool, controls: bool) -> Iterator[str]:
    metrics = summary.metrics
    yield summary.rule
    yield str(summary.k) if summary.k else "-"
    yield f"{summary.removed:g}"
    yield _interval(metrics["l2"])
    yield "-" if summary.over_random is None else _interval(summary.over_random, sign="+")
    yield f"{metrics['mse'].median:.4f}"
    yield f"{metrics['ssim'].median:.3f}"
    if cosine:
        yield f"{metrics['cosine'].median:.3f}"
    if controls:
        if summary.over_controls is None:
            yield "-"
        else:
            difference, (low, high) = summary.over_controls
            yield f"{difference:+.2f} ({low:+.2f} to {high:+.2f})"


def _interval(estimate: MetricEstimate, sign: str = "") -> str:
    low, high = estimate.interval
    return f"{estimate.median:{sign}.2f} ({low:{sign}.2f} to {high:{sign}.2f})"
