"""The demo: from four artists' icons to generated ones, and back to whom they owe most to."""

from __future__ import annotations

import json
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
from creditline.data.load import load_images
from creditline.data.selection import SelectionSpec
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.generation import generate
from creditline.diffusion.presets import preset
from creditline.diffusion.train import train
from creditline.files import write_file
from creditline.indexing.index import Index
from creditline.records import QueryTrace
from creditline.runtime import Runtime
from creditline.trace import Trace
from creditline.units import duration, size

T = TypeVar("T")
Say = Callable[[str], None]

PICTURES = 16
TOP = 10
ICONS_EACH = 100  # of every artist: so few that a network learns to draw them in minutes
TRAIN_SECONDS = 390.0
PLAN = "plan.json"


@dataclass(frozen=True)
class Demo:
    """What the demo made.

    Attributes:
        trace: of the generated pictures.
        report: the page to open.
        seconds: on the clock, by step; next to nothing for a step that was finished before.
        disk: bytes held by everything.
    """

    trace: Trace
    report: Path
    seconds: dict[str, float]
    disk: int


def run(
    out: str | Path,
    *,
    images: Any = None,
    config: TrainConfig | None = None,
    runtime: Runtime | None = None,
    say: Say = print,
    **settings: Any,
) -> Demo:
    """Train on icons, generate 16, index every training icon, trace, write a report.

    Interrupt it at any time; the same call continues. What is finished is not done again.
    Training takes as many steps, up to the preset's, as fit in `TRAIN_SECONDS` on this machine;
    a first try of a few steps decides, and the choice is kept.

    Args:
        out: folder for everything.
        images: what `load_images` takes; 100 icons of each of four artists by default.
        config: of the training; the preset `icons-16`, cut to what fits, by default.
        runtime: where and how; by default one worker for each CPU core.
        say: receives each line of text for the reader.
        settings: of D-TRAK.

    Raises:
        CreditlineError: if the icons are not installed, or `out` holds something else.
    """
    folder = Path(out)
    runtime = runtime or Runtime(workers=cpu_count())
    clock = _Clock(say)
    pictures = clock.step(
        "load the icons",
        lambda: _icons() if images is None else load_images(images, runtime=runtime),
    )
    if config is None:
        config = clock.step("try the machine", lambda: _plan(folder, pictures, runtime))
    run_folder = clock.step(
        f"train {config.steps:,} steps",
        lambda: train(pictures, folder / "run", config, runtime=replace(runtime, threads=1)),
    )
    made = clock.step(
        f"generate {PICTURES}",
        lambda: generate(run_folder, PICTURES, folder / "generated", runtime=runtime),
    )
    index = clock.step(
        "index every icon",
        lambda: build_index(
            str(run_folder),
            pictures,
            method="d-trak",
            out=folder / "index",
            runtime=runtime,
            **settings,
        ),
    )
    report = folder / "report.html"
    trace = clock.step("trace, and write a report", lambda: _traced(index, made, report))
    held = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    say(f"\n{credit_text(trace)}")
    say(f"\nReport: {report.resolve()}")
    say(f"Disk: {size(held)} in {folder}")
    return Demo(trace, report, clock.seconds, held)


def credit_text(trace: Trace) -> str:
    """Who each picture owes most to, in words, a picture per paragraph."""
    head = (
        f"Whose icons the pictures owe most to, by {trace.method.title}: each artist's share of "
        "the positive scores and, in brackets, how many of the ten strongest icons are theirs. "
        "An artist with many icons has a large share of every picture; the ten tell pictures apart."
    )
    return "\n".join([textwrap.fill(head, 100), "", *map(credit_line, trace)])


def credit_line(query: QueryTrace) -> str:
    """The contributors of one picture, largest share first."""
    parts = [
        f"{total.name or 'unknown'} {total.share:.0%} ({total.top})"
        for total in query.totals.get("contributor", ())
    ]
    return textwrap.fill(f"{query.name}: {', '.join(parts)}", 100, subsequent_indent="  ")


def _icons() -> ImageSet:
    return load_images(
        "demo:icons", selection=SelectionSpec(sample=ICONS_EACH, sample_each="contributor")
    )


def _plan(folder: Path, pictures: ImageSet, runtime: Runtime) -> TrainConfig:
    """The preset with the steps that fit."""
    config, path = preset("icons-16"), folder / PLAN
    if not path.is_file():
        seconds = _seconds_per_step(config, pictures, runtime)
        steps = min(config.steps, max(100, int(TRAIN_SECONDS / seconds)))
        write_file(path, lambda p: p.write_text(json.dumps({"steps": steps}), "utf-8"))
    steps = json.loads(path.read_text("utf-8"))["steps"]
    return replace(config, steps=steps, checkpoint_every=0)


def _seconds_per_step(config: TrainConfig, pictures: ImageSet, runtime: Runtime) -> float:
    """Time on the clock of one more step, from a short run and a longer one after a warm-up."""
    seconds = []
    for steps in (4, 4, 44):
        with tempfile.TemporaryDirectory() as aside:
            trial = replace(config, steps=steps, checkpoint_every=0)
            started = time.monotonic()
            # One thread: two gain nothing on a network this small, and stall on a busy machine.
            train(pictures, Path(aside) / "run", trial, runtime=replace(runtime, threads=1))
            seconds.append(time.monotonic() - started)
    return max(seconds[2] - seconds[1], 1e-3) / 40


def _traced(index: Index, made: Path, report: Path) -> Trace:
    """The trace of the generated pictures, kept beside the report under what it was made from."""
    pictures = load_images(made)
    asked = {"index": index.manifest.request, "pictures": pictures.ids, "top": TOP}
    path = report.with_name(f"trace-{fingerprint.of_json(asked)[:12]}.json")
    if path.is_file() and report.is_file():
        return Trace.from_json(path)
    trace = index.trace(made, top=TOP)
    trace.to_html(report, overwrite=True)
    trace.to_json(path, overwrite=True)
    return trace


class _Clock:
    """Runs steps and says how long each took."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.seconds: dict[str, float] = {}

    def step(self, name: str, work: Callable[[], T]) -> T:
        started = time.monotonic()
        result = work()
        self.seconds[name] = time.monotonic() - started
        self.say(f"{name:26} {duration(self.seconds[name])}")
        return result
