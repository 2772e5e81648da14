"""`creditline evaluate retrain`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

import click

from creditline.bounds import COUNT
from creditline.cli import images
from creditline.cli.console import echo
from creditline.cli.options import NumberType, flag, given_settings, settings_options
from creditline.cli.runtime import executor_options, runtime
from creditline.cli.sections import SectionedCommand
from creditline.cli.training import read_training, shape_check, training_options
from creditline.errors import SettingsError
from creditline.evaluation.truth.retraining import RetrainingConfig
from creditline.evaluation.truth.subsets import SubsetSpec
from creditline.settings import override


@click.command(name="retrain", cls=SectionedCommand)
@click.argument("data")
@click.option(
    "--queries", multiple=True, required=True, help="folder of query images; repeat for several"
)
@click.option("--out", required=True, help="folder of the ground truth to write or to continue")
@click.option(
    "--masks", help=".npy file of subsets to use instead of random ones: 0 and 1, one row each"
)
@click.option(
    "--limit-tasks", type=NumberType(COUNT), help="train at most this number of models now"
)
@executor_options
@click.option("--overwrite", is_flag=True, help="replace a ground truth of other inputs")
@click.option(
    "--encoded",
    help="shared folder of latents and text embeddings  [default: in the ground truth]",
)
@images.image_options
@settings_options(RetrainingConfig(), section="Retraining")
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
    """Retrain on subsets of the images of DATA: the ground truth of `creditline evaluate lds`.

    Trains a model on every subset with every seed and measures the loss of each query under it.
    The training steps are those of one subset: with half of the images, half of the steps show each
    image equally often. The command may be interrupted; the same command continues, and so does one
    with more --subsets or --seeds.
    """
    config, base = read_training()
    settings = override(RetrainingConfig(), given_settings(RetrainingConfig()))
    if masks is not None:
        _refuse_subset_options()
    from creditline.evaluation.truth.files import import_array
    from creditline.evaluation.truth.query_sets import name_folders
    from creditline.evaluation.truth.retraining import retrain

    truth = retrain(
        images.load(data, check_shape=shape_check(config, base)),
        name_folders(queries),
        Path(out),
        config=config,
        base=base,
        settings=settings,
        masks=None if masks is None else import_array(Path(masks)),
        runtime=runtime(),
        encoded=encoded,
        limit_tasks=limit_tasks,
        overwrite=overwrite,
    )
    subsets, seeds, count = truth.losses.shape
    finished = int(truth.finished.sum())
    if finished < truth.finished.size:
        echo(f"{finished} of {truth.finished.size} models are trained. The same command continues.")
        return
    each = f"{seeds} model{'s' * (seeds > 1)} each"
    echo(f"{out} contains the losses of {count:,} queries under {subsets} subsets, {each}.")
    folders = "".join(f" --queries {quote(folder)}" for folder in queries)
    echo(f"Next:\n  creditline evaluate lds INDEX{folders} --ground-truth {quote(out)}")


def _refuse_subset_options() -> None:
    """Refuse options of random subsets beside given subsets.

    Raises:
        SettingsError: if there are such options.
    """
    options = given_settings(SubsetSpec())
    if options:
        raise SettingsError(
            f"--masks gives the subsets and {flag(next(iter(options)))} says how to draw them. "
            "Leave one of the two out."
        )
