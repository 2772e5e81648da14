"""`creditline evaluate retrain`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

import click

from creditline.cli import images
from creditline.cli.options import flag, given, settings_options
from creditline.cli.runtime import executor_options, runtime
from creditline.cli.sections import SectionedCommand
from creditline.cli.training import chosen, training_options
from creditline.errors import SettingsError
from creditline.evaluation.truth.retraining import RetrainingConfig
from creditline.evaluation.truth.subsets import SubsetSpec
from creditline.settings import override


@click.command(name="retrain", cls=SectionedCommand)
@click.argument("data")
@click.option(
    "--queries", multiple=True, required=True, help="folder of pictures; may be given repeatedly"
)
@click.option("--out", required=True, help="folder of the ground truth to write, or to continue")
@click.option("--masks", help=".npy file of your own subsets, 0 and 1, one row each")
@click.option("--limit-tasks", type=int, help="train at most so many models now")
@executor_options
@click.option("--overwrite", is_flag=True, help="replace a ground truth made from something else")
@click.option(
    "--encoded",
    help="folder of latents and text embeddings to share  [default: in the ground truth]",
)
@images.image_options
@settings_options(RetrainingConfig(), section="Fleet")
@training_options(leave_out=("checkpoint_every", "sample_every"))
def command(
    data: str,
    queries: tuple[str, ...],
    out: str,
    masks: str | None,
    limit_tasks: int | None,
    encoded: str | None,
    overwrite: bool,
    **_: Any,
) -> None:
    """Retrain on subsets of the images of DATA: the ground truth that `lds` judges by.

    Trains a model on every subset with every seed and measures the loss of each query under it.
    The steps of the settings are those of one such training: half of the images need half of the
    steps to be seen as often. Interrupt it at any time; the same command continues, and one with
    more --subsets or --seeds continues too.
    """
    config, base = chosen()
    settings = override(RetrainingConfig(), given(RetrainingConfig()))
    if masks is not None:
        _refuse_drawn()
    from creditline.evaluation.truth.files import read_array
    from creditline.evaluation.truth.query_sets import name_folders
    from creditline.evaluation.truth.retraining import retrain

    truth = retrain(
        images.load(data),
        name_folders(queries),
        Path(out),
        config=config,
        base=base,
        settings=settings,
        masks=None if masks is None else read_array(Path(masks)),
        runtime=runtime(),
        encoded=encoded,
        limit_tasks=limit_tasks,
        overwrite=overwrite,
    )
    subsets, seeds, count = truth.losses.shape
    done = int(truth.finished.sum())
    if done < truth.finished.size:
        click.echo(
            f"{done} of {truth.finished.size} models are trained. The same command continues."
        )
        return
    each = f"{seeds} model{'s' * (seeds > 1)} each"
    click.echo(f"{out} holds the losses of {count:,} queries under {subsets} subsets, {each}.")
    folders = "".join(f" --queries {quote(folder)}" for folder in queries)
    click.echo(f"Next:\n  creditline evaluate lds INDEX{folders} --ground-truth {quote(out)}")


def _refuse_drawn() -> None:
    """Raise if the user gave subsets and how to draw them as well."""
    typed = given(SubsetSpec())
    if typed:
        raise SettingsError(
            f"--masks gives the subsets and {flag(next(iter(typed)))} says how to draw them. "
            "Leave one of the two out."
        )
