"""Commands that write to a folder, at small sizes, and what is compared of their results.

Run as a program it is a server: it imports everything once and forks a process for each command.
A line of standard input is one request, `{"call": ..., "name": ..., "place": ..., "kill": ...}`;
the answer is one line of standard output.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel

import creditline as cl
from creditline import checksum, fingerprint
from creditline.data.image_set import ImageSet
from creditline.diffusion import training_run
from creditline.diffusion.config import GenerateConfig, TrainConfig, UNetConfig
from creditline.diffusion.families.pixel import UNetDenoiser
from creditline.diffusion.generation import generate
from creditline.diffusion.process import DiscreteProcess
from creditline.diffusion.train import train
from creditline.diffusion.tuning.adapter import AdapterConfig
from creditline.diffusion.tuning.config import TuneConfig
from creditline.errors import DataError
from creditline.evaluation.truth.losses import LossPlan
from creditline.evaluation.truth.retraining import RetrainingConfig, retrain
from creditline.evaluation.truth.subsets import SubsetSpec
from creditline.indexing.purging import PENDING
from creditline.methods import gradient_method
from creditline.notice import Notice
from creditline.verification import verify

OUT, TRACE = "out", "trace.json"
SMALL = TrainConfig(
    unet=UNetConfig(resolution=8, channels=(4,), attention=(), layers=1, groups=4, head_dim=4),
    steps=4,
    batch_size=4,
    checkpoint_every=2,
    sample_every=2,
)
REMOVED = ["name-of-02.png", "name-of-05.png"]
VOLATILE = ("created", "git_revision", "table_version", "table_checksum")


def _images() -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    return ImageSet.from_images(pixels, names=[f"name-of-{i:02d}.png" for i in range(12)])


def _model() -> UNetDenoiser:
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}
    sizes = {"block_out_channels": (4,), "layers_per_block": 1, "attention_head_dim": 4}
    unet = UNet2DModel(sample_size=8, norm_num_groups=4, **sizes, **blocks)
    return UNetDenoiser(unet, DiscreteProcess.from_scheduler(DDPMScheduler()))


IMAGES, MODEL = _images(), _model()
PRINCIPAL = {"timesteps": 2, "dim": 32, "projection": "principal", "rank": 2}


def pixel_index(place: Path) -> None:
    """An index of eight images."""
    images = IMAGES.subset(range(8))
    cl.index(None, images, method="pixel-centered", out=place / OUT, shard_rows=4)


def gradient_index(place: Path) -> None:
    """An index of gradients, with a projection that is fitted and errors."""
    images = IMAGES.subset(range(8))
    cl.index(MODEL, images, method="d-trak", out=place / OUT, shard_rows=4, **PRINCIPAL)


def traced_gradient_index(place: Path) -> None:
    """An index of gradients with curvature and errors."""
    gradient_index(place)
    cl.open_index(place / OUT, model=MODEL).trace(IMAGES.subset([0]), top=2)


def traced_index(place: Path) -> None:
    """An index with results of fitting."""
    pixel_index(place)
    cl.open_index(place / OUT).trace(IMAGES.subset([0]), top=2)


def trace(place: Path) -> None:
    """Trace an image and export the result."""
    index = cl.open_index(place / OUT, model=MODEL)
    index.trace(IMAGES.subset([1]), top=3).to_json(place / TRACE, overwrite=True)


def add(place: Path) -> None:
    """Add four images."""
    cl.open_index(place / OUT, model=MODEL).add(IMAGES.subset(range(8, 12)))


def remove(place: Path, purge: bool = False) -> None:
    """Remove two images; if they are gone already, that is refused."""
    index = cl.open_index(place / OUT)
    try:
        index.remove(REMOVED, purge=purge)
    except DataError:
        if index.n != 6 or PENDING in index.manifest.facts:
            raise


def purge(place: Path) -> None:
    """Remove two images, with all their data."""
    remove(place, purge=True)


def overwrite(place: Path) -> None:
    """Replace an index by another one."""
    images, out = IMAGES.subset(range(5)), place / OUT
    cl.index(None, images, method="pixel-dot", out=out, overwrite=True, shard_rows=4)


def train_network(place: Path) -> None:
    """Train a network, with checkpoints and samples."""
    train(IMAGES, place / OUT, SMALL)


def tune(place: Path) -> None:
    """Tune an adapter."""
    config = TuneConfig(adapter=AdapterConfig(lora_rank=2), steps=2, batch_size=4)
    train(IMAGES, place / OUT, config, base=MODEL)


def retrain_networks(place: Path) -> None:
    """Retrain on eight subsets."""
    settings = RetrainingConfig(
        subsets=SubsetSpec(subsets=8), seeds=1, losses=LossPlan(loss_timesteps=2, loss_draws=1)
    )
    config = TrainConfig(unet=SMALL.unet, steps=1, batch_size=4)
    queries = {"q": IMAGES.subset([0])}
    retrain(IMAGES, queries, place / OUT, config=config, settings=settings)


def generate_images(place: Path) -> None:
    """Generate images with their trajectories."""
    generate(MODEL, 3, place / OUT, GenerateConfig(steps=2, trajectory=True), batch_size=2)


def nothing(place: Path) -> None:
    """Begin in an empty folder."""


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        run: does it.
        before: makes what is there before.
    """

    run: Callable[[Path], None]
    before: Callable[[Path], None] = nothing


COMMANDS = {
    "index": Command(pixel_index),
    "index gradients": Command(gradient_index),
    "trace": Command(trace, pixel_index),
    "trace gradients": Command(trace, gradient_index),
    "add": Command(add, traced_index),
    "add gradients": Command(add, traced_gradient_index),
    "remove": Command(remove, traced_index),
    "purge": Command(purge, traced_index),
    "overwrite": Command(overwrite, traced_index),
    "train": Command(train_network),
    "tune": Command(tune),
    "retrain": Command(retrain_networks),
    "generate": Command(generate_images),
}


def result(place: Path) -> dict[str, Any]:
    """Everything that a command leaves, without times and random names."""
    files = {}
    for path in sorted(place.rglob("*")):
        name = re.sub(r"table-\d+", "table", str(path.relative_to(place)))
        if "images.lance" not in path.parts:
            files[name] = _contents(path)
    values: dict[str, Any] = {"files": files}
    if (place / OUT / "images.lance").is_dir():
        index = cl.open_index(place / OUT, model=MODEL)
        values["digest"] = index.digest()
        table = place / OUT / "images.lance"
        used = set(index.store.version.records())
        present = {path.relative_to(table).as_posix() for path in table.rglob("*.lance")}
        values["orphans"] = len(present - used)
        values["drafts"] = [p.name for p in table.rglob("*") if ".tmp" in p.name or "#" in p.name]
        queries = IMAGES.subset([1])
        values["scores"] = [(h.name, h.score) for h in index.trace(queries, top=3)[0].proponents]
        if index.n == 6:
            data = b"".join(p.read_bytes() for p in place.rglob("*") if p.is_file())
            values["holds removed"] = REMOVED[0].encode() in data
    values["damaged"] = [f.message for f in verify(place / OUT).damaged]
    return values


def _contents(path: Path) -> Any:
    if path.is_dir():
        return None
    if path.name.startswith("table-"):
        return "a record"
    if path.suffix == ".json":
        return _without_volatile(json.loads(path.read_text()))
    return checksum.of_file(path)


def _without_volatile(value: Any) -> Any:
    """A JSON value without what differs from run to run."""
    if isinstance(value, dict):
        rest = {k: v for k, v in value.items() if k not in (*VOLATILE, "checksum", "at")}
        return {key: _without_volatile(inner) for key, inner in rest.items()}
    return [_without_volatile(inner) for inner in value] if isinstance(value, list) else value


def reads(place: Path) -> dict[str, Any]:
    """What a reader finds in an index, unless there is none."""
    index = cl.open_index(place / OUT)
    return {"digest": index.digest(), "n": index.n}


CALLS: dict[str, Callable[[str, Path], Any]] = {
    "before": lambda name, place: COMMANDS[name].before(place),
    "run": lambda name, place: COMMANDS[name].run(place),
    "result": lambda name, place: result(place),
    "reads": lambda name, place: reads(place),
}


def answer(call: str, name: str, place: str, kill: float | None = None) -> dict[str, Any]:
    """Fork a process for a call, and kill it after `kill` seconds."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as stream:
            try:
                values = {"end": "done", "value": CALLS[call](name, Path(place))}
            except BaseException as error:  # noqa: BLE001 (the parent reports it)
                values = {"end": "failed", "message": f"{type(error).__name__}: {error}"}
            json.dump(values, stream)
        os._exit(0)
    os.close(writing)
    started = time.monotonic()
    if kill is not None:
        time.sleep(kill)
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(reading) as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    values = json.loads(text) if text.endswith("}") else {"end": "killed"}
    return {**values, "seconds": time.monotonic() - started}


def import_all() -> None:
    """Import what commands import, so that no process of them has to; Lance must start in none."""
    for module in pkgutil.walk_packages(cl.__path__, "creditline."):
        if not module.name.startswith(("creditline.cli", "creditline.runtime.ray")):
            importlib.import_module(module.name)
    for name in ("lance.fragment", "jsonschema", "PIL.PngImagePlugin"):
        importlib.import_module(name)
    assert diffusers.DDPMPipeline
    with tempfile.TemporaryDirectory() as folder:
        generate_images(Path(folder))


def serve() -> None:
    """Answer requests until standard input ends."""
    warnings.simplefilter("ignore", Notice)
    torch.set_num_threads(1)
    gradient_method.QUERY_EVALUATIONS = 1
    training_run.SAVE_SECONDS, training_run.SAVE_SHARE = 0.0, 0.0
    fingerprint.git_revision = lambda: None  # a process of its own, which writes nothing
    import_all()
    print(os.getpid(), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)


if __name__ == "__main__":
    serve()
