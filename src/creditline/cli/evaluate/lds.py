"""`creditline evaluate lds`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from creditline.cli import models
from creditline.cli.evaluate.lds_table import shown
from creditline.cli.index import EVERY, configured
from creditline.cli.options import flag, given, leaves, settings_options
from creditline.cli.sections import SectionedCommand
from creditline.cli.trace import FIXED
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
    help="pictures whose losses are in the ground truth; repeat in the order of the losses",
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
@settings_options(LDSConfig(), section="Judging")
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
    """Do the scores of INDEX predict what happens when the model is retrained on subsets?

    The ground truth is a folder that `creditline evaluate retrain` wrote, or two arrays of your
    own: columns of the masks are the training images in the order of the index, that of their
    file names; columns of the losses are the queries, folder by folder in the order given.
    """
    truth = _truth(truth_path, masks, losses)
    target = None if json_path is None else Path(json_path)
    if target is not None and target.exists() and not overwrite:
        raise SettingsError(
            f"--json {target} exists and was left as it is. Choose another name or give "
            "--overwrite."
        )
    contest = override(LDSConfig(), given(LDSConfig()))
    from creditline.evaluation.lds.compare import compare_methods
    from creditline.evaluation.truth.query_sets import name_folders

    opened = models.opened(index, paths)
    found = compare_methods(opened, truth, name_folders(queries), _chosen(opened, names), contest)
    click.echo(shown(found))
    if target is not None:
        text = json.dumps(found.to_dict(), indent=1, ensure_ascii=False)
        write_file(target, lambda p: p.write_text(text + "\n", "utf-8"), overwrite=overwrite)
        click.echo(f"wrote {target}")


def _truth(folder: str | None, masks: str | None, losses: str | None) -> GroundTruth:
    """The ground truth that the options name."""
    options = {"--ground-truth": folder, "--masks": masks, "--losses": losses}
    got = [name for name, value in options.items() if value is not None]
    if got not in (["--ground-truth"], ["--masks", "--losses"]):
        raise SettingsError(
            "The ground truth is either --ground-truth DIR, or --masks FILE and --losses FILE; got "
            f"{' and '.join(got) or 'neither'}."
        )
    from creditline.evaluation.truth.files import read_array
    from creditline.evaluation.truth.ground_truth import GroundTruth

    if folder is not None:
        return GroundTruth.read(folder)
    return GroundTruth.from_arrays(read_array(Path(str(masks))), read_array(Path(str(losses))))


def _chosen(index: Index, names: tuple[str, ...]) -> list[str | Attributor]:
    """Methods by name, those that score the index with the settings that the user gave."""
    from creditline import methods

    changes = given(*EVERY)
    chosen: list[str | Attributor] = []
    used: set[str] = set()
    for name in names or (index.method.name,):
        cls, has = methods.get(name), index.method.capabilities
        same = (cls.capabilities.kind, cls.capabilities.features) == (has.kind, has.features)
        if has.kind == "subset" or not same:
            chosen.append(name)
            continue
        method = index.using(name).method if names else index.method
        mine = {key: value for key, value in changes.items() if key in leaves(method)}
        used |= set(mine)
        chosen.append(configured(method, mine))
    unused = [key for key in changes if key not in used]
    if unused:
        raise SettingsError(
            f"{flag(unused[0])} is a setting of none of the methods judged: "
            f"{', '.join(names) or index.method.name}. Leave it out or choose another --method."
        )
    return chosen
