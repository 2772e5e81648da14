"""`creditline evaluate recipe`."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from creditline.bounds import COUNT, Bounds
from creditline.cli import models
from creditline.cli.console import echo
from creditline.cli.options import NumberType
from creditline.cli.runtime import executor_options, runtime
from creditline.cli.sections import SectionedCommand, option
from creditline.cli.table import facts, table
from creditline.cli.training import refuse_parts
from creditline.diffusion.tuning.config import TuneConfig
from creditline.errors import SettingsError
from creditline_research.paper.published import REMOVALS, PublishedResult, published_results
from creditline_research.paper.recipe import MINI_SD, Recipe
from creditline_research.paper.recipes import RECIPES, recipe

if TYPE_CHECKING:
    from creditline.diffusion.denoiser import Denoiser
    from creditline.diffusion.precision import Precision
    from creditline_research.paper.cost import MachineSpeed, RecipeCost

COST = "Cost"


@click.command(name="recipe", cls=SectionedCommand)
@click.argument("name", metavar="NAME")
@click.option("--data", help="where the recipe's images are")
@click.option("--out", help="folder of everything to write, or to continue")
@click.option(
    "--scale",
    type=NumberType(Bounds(0, 1, open_low=True), integer=False),
    default=1.0,
    show_default=True,
    help="share of the images, queries, subsets, seeds and loss evaluations",
)
@click.option("--preset", help="train by another preset of the same kind, with its batches")
@click.option("--base", help="pipeline folder that artbench2 and artbench5 tune")
@click.option("--precision", help="precision of tuning: fp32, bf16 or fp16  [default: fp32]")
@click.option(
    "--accumulate", type=NumberType(COUNT), help="parts that a batch of tuning is computed in"
)
@click.option(
    "--threads", type=NumberType(COUNT), help="CPU threads of the first model  [default: torch's]"
)
@option("--dry-run", section=COST, is_flag=True, help="only print what everything would cost")
@option(
    "--measured-steps",
    section=COST,
    type=NumberType(COUNT),
    default=3,
    show_default=True,
    help="training steps that measure the speed",
)
@executor_options
@models.parts_options
def command(
    name: str,
    data: str | None,
    out: str | None,
    scale: float,
    preset: str | None,
    base: str | None,
    precision: Precision | None,
    accumulate: int | None,
    dry_run: bool,
    measured_steps: int,
    **_: Any,
) -> None:
    """Describe, estimate or run an experiment of the D-TRAK paper.

    NAME is cifar2, cifar10, celeba, artbench2 or artbench5. With --data and --out it trains the
    model, draws the queries and makes the ground truth for LDS from the paper's own subsets. The
    last two train LoRA matrices in the Stable Diffusion pipeline that --base is. Interrupt it at
    any time; the same command continues.
    """
    experiment = recipe(name).scaled(scale)
    if preset is not None:
        experiment = experiment.using(preset)
    experiment = experiment.on(precision, accumulate)
    if base is None:
        refuse_parts()
    if dry_run:
        echo(_cost(experiment, _load_base(base), runtime().main_device, measured_steps))
    elif data is None and out is None:
        echo(describe(experiment))
    elif data is None or out is None:
        missing = "--out" if out is None else f"--data: {experiment.data}"
        raise SettingsError(
            f"Running a recipe needs {missing}. Leave out both to read its description."
        )
    else:
        start = _load_base(base)
        experiment.check_base(start)  # before all images are read
        _run(experiment, data, out, start)


def _load_base(base: str | None) -> Denoiser | None:
    """Load the base on the CPU; each training copies it to its own device."""
    return None if base is None else models.load(base, device="cpu")


def describe(experiment: Recipe) -> str:
    """Describe a recipe: its settings and the authors' numbers."""
    return "\n".join(
        [
            f"{experiment.title}, {RECIPES[experiment.name].data}",
            _settings(experiment),
            *_results(experiment),
        ]
    )


def _settings(experiment: Recipe) -> str:
    half, n = experiment.subset_images, experiment.train_images
    config = experiment.config()
    network = experiment.network
    if isinstance(config, TuneConfig):
        rank = config.adapter.lora_rank
        what = "all weights" if rank is None else f"LoRA of rank {rank}"
        network = f"{what} in a Stable Diffusion pipeline (--base; the paper's: {MINI_SD})"
    pairs = [
        ("scale", f"{experiment.factor:g}"),
        ("training images", f"{n:,} of {experiment.pool:,}, {experiment.resolution} pixels"),
        ("classes", ", ".join(experiment.classes) or "none"),
        ("network", network),
        (
            "training",
            f"{experiment.epochs} epochs of batches of {experiment.batch_size}, "
            f"{experiment.steps(n):,} steps; {experiment.steps(half):,} on a subset",
        ),
        (
            "queries",
            f"{experiment.validation:,} validation, {experiment.generated:,} generated by "
            f"{experiment.sampling_steps} DDIM steps"
            + (f", guidance {experiment.guidance}" if experiment.guidance else ""),
        ),
        *([("prompts", "; ".join(experiment.prompts))] if experiment.prompts else []),
        (
            "ground truth",
            f"{experiment.subsets} subsets of {half:,} images, {experiment.seeds} models each; "
            f"losses at {experiment.loss_timesteps:,} timesteps x {experiment.loss_draws} draws",
        ),
        (
            "features",
            f"{' or '.join(map(str, experiment.timesteps))} timesteps, projected to "
            f"{experiment.dim:,} dimensions",
        ),
    ]
    if experiment.targets:
        sizes = ", ".join(f"{k:,}" for k in experiment.removals)
        pairs.append(("counterfactual", f"{experiment.targets} targets, {sizes} images removed"))
    return facts(pairs)


def _results(experiment: Recipe) -> Iterator[str]:
    yield "\nThe authors' LDS in percent, mean and deviation over resampled subsets:"
    rows = published_results(experiment.name)
    header = ["method", "timesteps", "validation", "generated", "note"]
    yield table(header, [_lds(row) for row in rows], right=[1, 2, 3], indent=2)
    removals = REMOVALS.get(experiment.name, ())
    if removals:
        unit = "VAE latents" if removals[0].latent else "pixels"
        yield f"\nMedian change after the top 1,000 were removed (l2 norm of {unit}, CLIP cosine):"
        cells = [[r.method, f"{r.l2[0]:.2f}", f"{r.cosine[0]:.3f}"] for r in removals]
        yield table(["method", "l2", "cosine"], cells, right=[1, 2], indent=2)


def _lds(row: PublishedResult) -> list[str]:
    def cell(value: tuple[float, float] | None) -> str:
        return "-" if value is None else f"{value[0]:.2f} ± {value[1]:.2f}"

    name = row.method
    name += f", ensemble of {row.ensemble} halves" if row.ensemble else ""
    name += f", {row.retrained} models" if row.retrained else ""
    steps = "-" if row.timesteps is None else str(row.timesteps)
    return [name, steps, cell(row.validation), cell(row.generated), row.note]


def _cost(experiment: Recipe, base: Denoiser | None, device: str, steps: int) -> str:
    """Make a table of every part's cost, with hours where the network is known."""
    from creditline_research.paper.cost import count_costs, measure

    parts = count_costs(experiment)
    missing = experiment.tunes and base is None
    speed = None if missing else measure(experiment, base, device, steps)
    header = ["part", "models", "steps", "forwards", "gradients", *(["hours"] if speed else [])]
    rows = [_part(part, speed) for part in parts]
    lines = [
        f"{experiment.title} at scale {experiment.factor:g}:",
        table(header, rows, right=range(1, len(header)), indent=2),
    ]
    if speed is None:
        lines.append(
            "No hours: they are measured by tuning a pipeline. Give its folder as --base; the "
            f"paper's is {MINI_SD}."
        )
    else:
        total = sum(speed.hours(part) for part in parts)
        rest = ("Latents, projection" if experiment.tunes else "Projection") + " and scoring"
        lines.append(
            f"{total:,.1f} hours on one {speed.device}, measured over {steps} steps of "
            f"{speed.batch} images: {speed.image:.3g} s per image trained on, {speed.step:.3g} s "
            f"per update, {speed.forward:.3g} s per evaluation. {rest} come on top."
        )
    return "\n".join(lines)


def _part(part: RecipeCost, speed: MachineSpeed | None) -> list[str]:
    numbers = [
        f"{n:,}" if n else "-" for n in (part.models, part.steps, part.forwards, part.gradients)
    ]
    return [part.name, *numbers, *([f"{speed.hours(part):,.2f}"] if speed else [])]


def _run(
    experiment: Recipe,
    data: str,
    out: str,
    base: Denoiser | None,
) -> None:
    from creditline_research.paper.images import load
    from creditline_research.paper.run import RecipeFolders, run

    images = load(experiment, data)
    truth = run(experiment, images, out, base=base, runtime=runtime())
    folders = RecipeFolders.of(out)
    subsets, seeds, queries = truth.losses.shape
    echo(f"{out} holds the losses of {queries:,} queries under {subsets} subsets x {seeds} models.")
    echo("Next:")
    longest = max(experiment.timesteps)
    echo(
        f"  creditline index {quote(str(folders.model))} {quote(str(folders.images))} --out INDEX "
        f"--method d-trak --timesteps {longest} --dim {experiment.dim}"
    )
    echo(
        f"  creditline evaluate lds INDEX --queries {quote(str(folders.validation))} "
        f"--queries {quote(str(folders.generated))} "
        f"--ground-truth {quote(str(folders.ground_truth))}"
    )
    if experiment.targets:
        sizes = ",".join(map(str, experiment.removals))
        echo(
            f"  creditline evaluate counterfactual {quote(str(folders.model))} "
            f"{quote(str(folders.images))} --index INDEX --targets {quote(str(folders.targets))} "
            f"--removals {sizes} --out COUNTERFACTUAL"
        )
