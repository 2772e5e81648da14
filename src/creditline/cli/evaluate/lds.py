"""`creditline evaluate lds`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from creditline.cli import models
from creditline.cli.console import echo
from creditline.cli.evaluate.lds_table import format_comparison
from creditline.cli.index import EVERY, FIXED, configured
from creditline.cli.options import flag, given_settings, leaves, settings_options
from creditline.cli.sections import SectionedCommand
from creditline.errors import SettingsError
from creditline.evaluation.lds.config import LDSConfig
from creditline.files import write_file
from creditline.settings import override

if TYPE_CHECKING:
    from creditline.evaluation.truth.ground_truth import GroundTruth
    from creditline.indexing.index import Index
    from creditline.methods.attributor import Attributor


@click.command(name="lds", cls=SectionedCommand)
@click.argument("index")
@click.option(
    "--queries",
    multiple=True,
    required=True,
    metavar="FOLDER",
    help="folder of query images whose losses are in the ground truth; repeat in the order of the "
    "losses",
)
@click.option("--ground-truth", "truth_path", metavar="DIR", help="what `retrain` wrote")
@click.option("--masks", metavar="FILE", help=".npy, 0 and 1, (subsets, training images)")
@click.option(
    "--losses", metavar="FILE", help=".npy, (subsets, queries) or (subsets, seeds, queries)"
)
@click.option(
    "--method",
    "names",
    multiple=True,
    help="a method on the same index, or one that learns from the ground truth: "
    "empirical-influence, datamodel, datamodel-lasso; repeat for several  [default: the index's]",
)
@click.option("--json", "json_path", metavar="FILE", help="write everything, per query too")
@click.option("--overwrite", is_flag=True, help="replace the JSON file")
@models.indexed_options
@settings_options(LDSConfig(), section="Evaluation")
@settings_options(*EVERY, section="Method", leave_out=FIXED, default="")
def command(
    index: str,
    queries: tuple[str, ...],
    truth_path: str | None,
    masks: str | None,
    losses: str | None,
    names: tuple[str, ...],
    json_path: str | None,
    overwrite: bool,
    paths: tuple[str, ...],
    **_: Any,
) -> None:
    """Compute the LDS of INDEX: do scores predict the losses of models retrained on subsets?

    The ground truth is a folder that `creditline evaluate retrain` wrote, or two arrays. Columns of
    the masks are the training images in the order of the index, which is that of their file names.
    Columns of the losses are the queries, folder by folder in the given order.
    """
    truth = _read_truth(truth_path, masks, losses)
    target = None if json_path is None else Path(json_path)
    if target is not None and target.exists() and not overwrite:
        raise SettingsError(
            f"--json {target} exists and was not changed. Choose another name or give --overwrite."
        )
    config = override(LDSConfig(), given_settings(LDSConfig()))
    from creditline.evaluation.lds.compare import compare_methods
    from creditline.evaluation.truth.query_sets import name_folders

    opened = models.open_index(index, paths)
    methods = _configure_methods(opened, names)
    comparison = compare_methods(opened, truth, name_folders(queries), methods, config)
    if target is not None:  # first, as the printing may end early
        text = json.dumps(comparison.to_dict(), indent=1, ensure_ascii=False)
        write_file(target, lambda p: p.write_text(text + "\n", "utf-8"), overwrite=overwrite)
    echo(format_comparison(comparison))
    if target is not None:
        echo(f"wrote {target}")


def _read_truth(folder: str | None, masks: str | None, losses: str | None) -> GroundTruth:
    """Read the ground truth of the options."""
    options = {"--ground-truth": folder, "--masks": masks, "--losses": losses}
    given_options = [name for name, value in options.items() if value is not None]
    if given_options not in (["--ground-truth"], ["--masks", "--losses"]):
        raise SettingsError(
            "The ground truth is either --ground-truth DIR, or --masks FILE and --losses FILE; got "
            f"{' and '.join(given_options) or 'neither'}."
        )
    from creditline.evaluation.truth.files import import_array
    from creditline.evaluation.truth.ground_truth import GroundTruth

    if folder is not None:
        return GroundTruth.read(folder)
    return GroundTruth.from_arrays(import_array(Path(str(masks))), import_array(Path(str(losses))))


def _configure_methods(index: Index, names: tuple[str, ...]) -> list[str | Attributor]:
    """Return the methods, those of the index with the settings of the options.

    Raises:
        SettingsError: if an option is a setting of none of the methods.
    """
    from creditline import methods

    changes = given_settings(*EVERY)
    selected: list[str | Attributor] = []
    used: set[str] = set()
    for name in names or (index.method.name,):
        needs, stored = methods.get(name).capabilities, index.method.capabilities
        same = (needs.kind, needs.features) == (stored.kind, stored.features)
        if stored.kind == "subset" or not same:
            selected.append(name)
            continue
        method = index.using(name).method if names else index.method
        own = {key: value for key, value in changes.items() if key in leaves(method)}
        used |= set(own)
        selected.append(configured(method, own))
    unused = [key for key in changes if key not in used]
    if unused:
        raise SettingsError(
            f"{flag(unused[0])} is a setting of none of the methods: "
            f"{', '.join(names) or index.method.name}. Leave it out or choose another --method."
        )
    return selected
