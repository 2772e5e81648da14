"""`creditline evaluate counterfactual`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from creditline.cli import images, models
from creditline.cli.options import given, settings_options
from creditline.cli.sections import SectionedCommand
from creditline.cli.table import table
from creditline.errors import IndexMismatchError, SettingsError
from creditline.evaluation.counterfactual.experiment import (
    RESULT,
    SHEET,
    CounterfactualConfig,
    counterfactual,
)
from creditline.evaluation.counterfactual.result import MetricEstimate, Summary
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
    help="folder of pictures that RUN's model generated, pictures of one, or a .txt file beside it "
    "that lists some, one path a line; repeat for several",
)
@click.option(
    "--index", "indexes", multiple=True, required=True, help="index of DATA; repeat for several"
)
@click.option(
    "--method",
    "names",
    multiple=True,
    help="method to remove by, on the first index that has its features; repeat for several  "
    "[default: each index's own]",
)
@click.option("--out", required=True, help="folder of the results to write, or to continue")
@click.option("--base", help="model that RUN started from, if it moved")
@click.option("--encoder", help="CLIP or DINO folder; adds the cosine of its embeddings")
@click.option(
    "--threads",
    type=int,
    default=1,
    show_default=True,
    help="CPU threads of each training; as many as RUN had, or nothing removed changes something",
)
@models.workers_option
@click.option("--overwrite", is_flag=True, help="replace the results of another experiment")
@models.device_option
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
    threads: int,
    overwrite: bool,
    device: str,
    **_: Any,
) -> None:
    """Do generated pictures change when their most influential images are left out?

    Leaves out of DATA the images that each target owes most to by each method, retrains RUN's model
    with the same settings and seed, and draws the target again from the same noise. A retraining
    per target, method and number of images; with --together, one for all targets. Interrupt it at
    any time; the same command continues.
    """
    settings = override(CounterfactualConfig(), given(CounterfactualConfig()))
    from creditline import api
    from creditline.diffusion.load import load_model
    from creditline.evaluation.counterfactual.training_config import read_training_config
    from creditline.features.encoder import load_encoder

    pictures = images.load(data)
    config, start = read_training_config(run, pictures, base)
    chosen = [path for place in targets for path in _listed(place)]
    model = load_model(run).fingerprint
    opened = [_opened(api.open_index(path, device=device), pictures, model) for path in indexes]
    result = counterfactual(
        pictures,
        chosen,
        scores(opened, names, chosen),
        Path(out),
        config=config,
        model=model,
        base=start,
        settings=settings,
        encoder=None if encoder is None else load_encoder(encoder, device),
        workers=models.workers(),
        device=device,
        threads=threads,
        overwrite=overwrite,
    )
    click.echo(shown(result.summaries()))
    click.echo(
        f"{Path(out) / RESULT} holds every picture's numbers, {Path(out) / SHEET} shows some."
    )


def _listed(path: str) -> list[str]:
    """The pictures that a text file lists; anything else is itself one."""
    file = Path(path)
    if file.suffix.lower() != ".txt":
        return [path]
    lines = (line.strip() for line in file.read_text("utf-8").splitlines())
    return [str(file.parent / line) for line in lines if line]


def scores(indexes: Sequence[Index], names: Sequence[str], targets: Any) -> dict[str, np.ndarray]:
    """Scores of the targets, float64 `(m, n)`, by method.

    Raises:
        SettingsError: if two indexes score by the same method, and none was chosen.
        IndexMismatchError: if no index has the features of a method.
    """
    chosen: dict[str, np.ndarray] = {}
    for index in [_holding(indexes, name) for name in names] or indexes:
        name = index.method.name
        if name in chosen:
            raise SettingsError(
                f"{name} would be used twice. Give one index per method, or each --method once."
            )
        chosen[name] = index.scores(targets)
    return chosen


def _holding(indexes: Sequence[Index], name: str) -> Index:
    refusals = []
    for index in indexes:
        try:
            return index.using(name)
        except IndexMismatchError as refusal:
            refusals.append(refusal)
    raise refusals[0]


def _opened(index: Index, pictures: ImageSet, model: str) -> Index:
    """The index, if it is of these pictures and, where it is of models, of this one too."""
    known = index.manifest.request["images"]
    if known["fingerprint"] != pictures.fingerprint:
        raise IndexMismatchError(
            f"{index.path} is of {known['n']:,} images that are not those of {pictures.source} "
            f"({len(pictures):,}), or in another order. Give the data that was indexed, with the "
            "same options."
        )
    models = [known["fingerprint"] for known in index.manifest.request["models"]]
    if models and model not in models:  # pixels and embeddings are of no model
        raise IndexMismatchError(
            f"{index.path} is of another model than RUN, so its scores say nothing of what "
            "RUN's model learnt. Give an index of RUN."
        )
    return index


def shown(summaries: Sequence[Summary]) -> str:
    """A table of medians with intervals, and what they mean."""
    cosine = any("cosine" in summary.metrics for summary in summaries)
    controls = any(summary.over_controls is not None for summary in summaries)
    header = ["removed by", "k", "images", "l2, median", "over random", "mse", "ssim"]
    header += ["cosine"] if cosine else []
    header += ["over controls"] if controls else []
    rows = [list(_cells(summary, cosine, controls)) for summary in summaries]
    count = summaries[0].pictures
    pictures = "1 picture" if count == 1 else f"{count} pictures"
    return (
        f"{table(header, rows, right=range(1, len(header)))}\n"
        f"Medians over {pictures} with 95 % intervals; l2 is the norm of the change, of "
        "pixels in [-1, 1]."
    )


def _cells(summary: Summary, cosine: bool, controls: bool) -> Iterator[str]:
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
