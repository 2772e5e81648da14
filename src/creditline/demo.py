"""The demo: train on the icons of four artists, generate icons, and trace them back."""

from __future__ import annotations

import tempfile
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from joblib import cpu_count

from creditline import fingerprint
from creditline.api import index as build_index
from creditline.data.image_set import ImageSet
from creditline.data.image_source import ImageSource
from creditline.data.load import load_images
from creditline.data.selection import SelectionSpec
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.generation import generate
from creditline.diffusion.presets import preset
from creditline.diffusion.train import train
from creditline.errors import SettingsError
from creditline.indexing.index import Index
from creditline.json_schema import JsonSchema, integer, obj
from creditline.records import QueryTrace
from creditline.runtime import Runtime
from creditline.stored_json import read_json, write_json
from creditline.trace import Trace
from creditline.units import duration, size

T = TypeVar("T")
Say = Callable[[str], None]

GENERATED = 16
TOP = 10
ICONS_EACH = 100  # of every artist: few enough to train a network on in minutes
TRAIN_SECONDS = 390.0
PLAN = "plan.json"
PLAN_SCHEMA = JsonSchema(obj({"steps": integer(1)}))
OWN = {PLAN, "run", "generated", "index", "report.html"}
"""Names in a demo's folder, besides traces."""


@dataclass(frozen=True)
class Demo:
    """Results of the demo.

    Attributes:
        trace: of the generated images.
        report: HTML page.
        seconds: wall-clock time by step; almost none for a step that was finished before.
        disk: bytes of all files.
    """

    trace: Trace
    report: Path
    seconds: dict[str, float]
    disk: int


def run(
    out: str | Path,
    *,
    images: ImageSource | None = None,
    config: TrainConfig | None = None,
    runtime: Runtime | None = None,
    say: Say = print,
    **settings: Any,
) -> Demo:
    """Train on icons, generate 16, index every training icon, trace, write a report.

    After an interruption, the same call continues; finished steps are not repeated. The number of
    training steps is that of the preset or what fits in `TRAIN_SECONDS` on this machine. A short
    trial decides, and the choice is stored.

    Args:
        out: folder for everything.
        images: source of images; by default 100 icons of each of four artists.
        config: of the training; by default the preset `icons-16`, shortened to fit.
        runtime: executor, devices and progress; by default one worker per CPU core.
        say: receives each line of output.
        settings: settings of the default method, by name.

    Raises:
        CreditlineError: if the icons are not installed, or `out` holds something else.
    """
    folder = Path(out)
    _require_own(folder)
    runtime = runtime or Runtime(workers=cpu_count())
    clock = _Clock(say)
    training_images = clock.step(
        "load the icons",
        lambda: _icons() if images is None else load_images(images, runtime=runtime),
    )
    if config is None:
        config = clock.step("try the machine", lambda: _plan(folder, training_images, runtime))
    run_folder = clock.step(
        f"train {config.steps:,} steps",
        lambda: train(training_images, folder / "run", config, runtime=replace(runtime, threads=1)),
    )
    generated = clock.step(
        f"generate {GENERATED}",
        lambda: generate(run_folder, GENERATED, folder / "generated", runtime=runtime),
    )
    index = clock.step(
        "index every icon",
        lambda: build_index(
            str(run_folder),
            training_images,
            out=folder / "index",
            runtime=runtime,
            **settings,
        ),
    )
    report = folder / "report.html"
    trace = clock.step("trace, and write a report", lambda: _trace(index, generated, report))
    held = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    say(f"\n{credit_text(trace)}")
    say(f"\nReport: {report.resolve()}")
    say(f"Disk: {size(held)} in {folder}")
    return Demo(trace, report, clock.seconds, held)


def credit_text(trace: Trace) -> str:
    """Describe the contributors of each generated image, one image per paragraph."""
    head = (
        f"Credit of each artist for each generated image, by {trace.method.title}: share of the "
        "positive scores and, in brackets, the number of their icons among the ten strongest. "
        "An artist with many icons has a large share of every image; the ten differ by image."
    )
    return "\n".join([textwrap.fill(head, 100), "", *map(credit_line, trace)])


def credit_line(query: QueryTrace) -> str:
    """List the contributors of one image, largest share first."""
    parts = [
        f"{total.name or 'unknown'} {total.share:.0%} ({total.top})"
        for total in query.totals.get("contributor", ())
    ]
    return textwrap.fill(f"{query.name}: {', '.join(parts)}", 100, subsequent_indent="  ")


def _require_own(folder: Path) -> None:
    """Refuse a folder with anything that is not of a demo.

    Raises:
        SettingsError: naming a file in it.
    """
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"--out {folder} is a file. Name a folder.")
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    foreign = [x for x in names if not (x in OWN or x.startswith((".", "trace-")))]
    if foreign:
        raise SettingsError(
            f"{folder} holds {foreign[0]}, which is not of a demo, and was not changed. Name "
            "another folder (--out)."
        )


def _icons() -> ImageSet:
    return load_images(
        "demo:icons", selection=SelectionSpec(sample=ICONS_EACH, sample_each="contributor")
    )


def _plan(folder: Path, images: ImageSet, runtime: Runtime) -> TrainConfig:
    """Return the preset with the steps that fit."""
    config, path = preset("icons-16"), folder / PLAN
    if not path.is_file():
        seconds = _seconds_per_step(config, images, runtime)
        steps = min(config.steps, max(100, int(TRAIN_SECONDS / seconds)))
        write_json(path, {"steps": steps})
    steps = read_json(path, "Delete it; it is made again.", PLAN_SCHEMA)["steps"]
    return replace(config, steps=steps, checkpoint_every=0)


def _seconds_per_step(config: TrainConfig, images: ImageSet, runtime: Runtime) -> float:
    """Measure the time of one more step, from a short run and a longer one after a warm-up."""
    seconds = []
    for steps in (4, 4, 44):
        with tempfile.TemporaryDirectory() as aside:
            trial = replace(config, steps=steps, checkpoint_every=0)
            started = time.monotonic()
            # One thread: two gain nothing on a network this small, and stall on a busy machine.
            train(images, Path(aside) / "run", trial, runtime=replace(runtime, threads=1))
            seconds.append(time.monotonic() - started)
    return max(seconds[2] - seconds[1], 1e-3) / 40


def _trace(index: Index, generated: Path, report: Path) -> Trace:
    """Trace the generated images; the trace is stored beside the report, named by its request."""
    queries = load_images(generated)
    request = {"index": index.manifest.request, "queries": queries.ids, "top": TOP}
    path = report.with_name(f"trace-{fingerprint.of_json(request)[:12]}.json")
    if path.is_file() and report.is_file():
        return Trace.from_json(path)
    trace = index.trace(generated, top=TOP)
    trace.to_html(report, overwrite=True)
    trace.to_json(path, overwrite=True)
    return trace


class _Clock:
    """Runs steps and reports their time."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.seconds: dict[str, float] = {}

    def step(self, name: str, work: Callable[[], T]) -> T:
        started = time.monotonic()
        result = work()
        self.seconds[name] = time.monotonic() - started
        self.say(f"{name:26} {duration(self.seconds[name])}")
        return result
