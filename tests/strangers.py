"""Folders of every kind that a stranger may send, and changes of what their files say."""

from __future__ import annotations

import copy
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import creditline as cl
from creditline.diffusion.config import UNetConfig
from creditline.diffusion.generation import read_record, read_trajectory
from creditline.errors import CreditlineError
from creditline.evaluation.counterfactual.experiment import CounterfactualConfig, run_counterfactual
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.evaluation.truth.losses import LossPlan
from creditline.evaluation.truth.retraining import RetrainingConfig, retrain
from creditline.stored_json import CHECKSUM, write_json
from creditline.trace import EXPORTS, Trace
from creditline.verification import verify

CONFIG = cl.TrainConfig(
    unet=UNetConfig(resolution=8, channels=(4,), groups=4, head_dim=4), steps=1, batch_size=2
)
PERMISSIONS = {
    "allow_pickle": True,
    "trust_remote_code": True,
    "use_safetensors": False,
    "local_files_only": False,
    "custom_pipeline": "evil",
}
CODE = "open({!r}, 'w').close()\n"
FORBIDDEN = ("pickle.find_class", "socket.connect", "subprocess.Popen", "os.system", "os.exec")
"""Events of Python that no folder of a stranger may cause."""


@dataclass(frozen=True)
class Kind:
    """A folder, or file in a folder, and everything that is done with one.

    Attributes:
        folder: an intact one.
        uses: each reads or writes a folder.
    """

    folder: Path
    uses: tuple[Callable[[Path], object], ...]


def kinds(model: Path, images: cl.ImageSet, root: Path) -> Iterator[tuple[str, Callable[[], Kind]]]:
    """Yield every kind of folder by name, to be made when it is needed.

    Args:
        model: folder of a model of 8x8 pixels.
        images: training images.
        root: where to make the folders.
    """
    queries, more = images.subset([1]), images.subset([10, 11])
    settings: dict[str, Any] = {"method": "trak", "timesteps": 2, "dim": 16, "shard_rows": 2}
    pixels: dict[str, Any] = {"method": "pixel-dot", "shard_rows": 2}

    def index(source: str | None, out: Path, settings: dict[str, Any]) -> Kind:
        few = images.subset(range(6))
        cl.index(source, few, out=out, **settings).trace(queries, top=2)
        return Kind(
            out,
            (
                lambda path: cl.open_index(path).trace(queries, top=2),
                lambda path: cl.open_index(path).search(queries, top=2),
                lambda path: cl.open_index(path).add(more),
                lambda path: cl.open_index(path).remove([0], purge=True),
                lambda path: cl.index(source, few, out=path, **settings),
                verify,
            ),
        )

    def run() -> Kind:
        out = cl.train(images, root / "run", CONFIG)
        return Kind(out, (cl.load_model, lambda path: cl.train(images, path, CONFIG), verify))

    def generated() -> Kind:
        config = cl.GenerateConfig(steps=1, trajectory=True)
        out = cl.generate(str(model), 1, root / "images", config)

        def read(path: Path) -> None:
            cl.load_images(path)
            record = read_record(path)
            if record is not None:
                record.details("00000.png")
                read_trajectory(path, "00000.png")

        return Kind(out, (read, lambda p: cl.generate(str(model), 1, p, config), verify))

    def truth() -> Kind:
        plan = RetrainingConfig(losses=LossPlan(loss_timesteps=1, loss_draws=1), seeds=1)
        masks = np.eye(4, 12, dtype=bool)
        masks[0] = True

        def make(path: Path) -> GroundTruth:
            return retrain(images, {"q": queries}, path, config=CONFIG, settings=plan, masks=masks)

        make(root / "truth")
        return Kind(root / "truth", (lambda p: GroundTruth.read(p).counts, make, verify))

    def counterfactual() -> Kind:
        place = cl.train(images, root / "base", CONFIG)
        targets = cl.generate(place, 1, root / "targets", cl.GenerateConfig(steps=1), batch_size=1)
        scores = {"trak": np.arange(12.0)[None]}
        choice = CounterfactualConfig(removals=(3,), baselines=())

        def make(path: Path) -> object:
            return run_counterfactual(images, targets, scores, path, config=CONFIG, settings=choice)

        make(root / "counterfactual")
        return Kind(root / "counterfactual", (make, verify))

    def trace() -> Kind:
        few = images.subset(range(6))
        answer = cl.index(str(model), few, out=root / "traced", **settings).trace(queries, top=2)
        (root / "trace").mkdir()
        answer.to_json(root / "trace" / "trace.json")

        def export(path: Path) -> None:
            read = Trace.from_json(path / "trace.json")
            repr(read)
            for name in EXPORTS:
                getattr(read, f"to_{name}")(path / f"export.{name}")
            read.overall()

        return Kind(root / "trace", (export, lambda path: verify(path / "trace.json")))

    yield "pixels", lambda: index(None, root / "pixels", pixels)
    yield "gradients", lambda: index(str(model), root / "gradients", settings)
    yield "run", run
    yield "images", generated
    yield "truth", truth
    yield "counterfactual", counterfactual
    yield "trace", trace


def values_of(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Path of every value inside another."""
    if path:
        yield path
    if isinstance(value, (dict, list)):
        for key, item in list(value.items() if isinstance(value, dict) else enumerate(value))[:40]:
            yield from values_of(item, (*path, key))


def hostile_values(victim: Path) -> list[Any]:
    """Values that a stranger may write: paths, permissions, wrong types, huge numbers."""
    places = [str(victim), "../victim", "../../victim/secret.png", "link", "a\x00b", "~", "C:\\x"]
    numbers: list[Any] = [-1, 0, 10**9, 10**30, 1e308, float("nan")]
    types: list[Any] = [None, True, "", "x" * 20_000, [], [1], {}, {"a": 1}, [[]], "\ud800"]
    return [*places, *numbers, *types, "evil:Evil", dict(PERMISSIONS), [dict(PERMISSIONS)]]


def replace_value(path: Path, keys: tuple, value: Any) -> None:
    """Change a value of a stored JSON file, and every checksum that vouches for it."""
    values = json.loads(path.read_text("utf-8"))
    is_ours = CHECKSUM in values
    values.pop(CHECKSUM, None)
    place = values
    for key in keys[:-1]:
        place = place[key]
    if value is PERMISSIONS:
        place[keys[-1]] = {**place[keys[-1]], **PERMISSIONS}
    else:
        place[keys[-1]] = copy.deepcopy(value)
    with suppress(UnicodeEncodeError):  # such a text cannot be in a file
        if not is_ours:
            path.write_text(json.dumps(values), "utf-8")
            return
        total = write_json(path, values)
        manifest = path.parent / "manifest.json"
        if path.name.startswith("table-") and manifest.is_file():
            replace_value(manifest, ("facts", "table_checksum"), total)


def mutations(folder: Path, victim: Path) -> Iterator[tuple[Path, tuple, Any]]:
    """Yield every change: file, place in it and value."""
    for path in sorted(folder.rglob("*.json")):
        values = json.loads(path.read_text("utf-8"))
        values.pop(CHECKSUM, None)
        relative = path.relative_to(folder)
        for keys in values_of(values):
            place = values
            for key in keys:
                place = place[key]
            if isinstance(place, dict):
                yield relative, keys, PERMISSIONS
            for value in hostile_values(victim):
                yield relative, keys, value


class Cage:
    """A place with a victim beside the stranger's folder, and a watch over what happens there.

    Attributes:
        victim: a folder that nothing may change.
        folder: the stranger's.
    """

    def __init__(self, root: Path) -> None:
        self.victim, self.folder = root / "victim", root / "cage" / "folder"
        (self.victim / "inner").mkdir(parents=True)
        self.folder.parent.mkdir()
        (self.victim / "secret.png").write_bytes(b"secret")
        (self.victim / "inner" / "notes.txt").write_text("keep")
        (self.victim / "evil.py").write_text(CODE.format(str(self.victim / "CODE-RAN")))
        self.before, self.events, self.messages = self._state(), list[str](), set[str]()
        self._is_watching = False
        sys.addaudithook(self._watch)  # it cannot be removed, and does nothing later

    def fill(self, intact: Path) -> None:
        """Replace the stranger's folder by a copy of an intact one, with a link out of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(intact, self.folder, symlinks=True)

    def use(self, uses: tuple[Callable[[Path], object], ...]) -> int:
        """Do everything with the folder; return how often it was refused.

        Raises:
            AssertionError: if another error comes, or anything outside the folder changes.
        """
        refused = 0
        for use in uses:
            try:
                with self._watched():
                    use(self.folder)
            except CreditlineError as error:
                refused += 1
                self.messages.add(str(error))
            except Exception as error:
                raise AssertionError(f"use {uses.index(use)}: {error!r}") from error
            assert self._state() == self.before, "something outside the folder changed"
            assert not self.events, f"what happened: {self.events}"
            assert "evil" not in sys.modules
        return refused

    def _state(self) -> list[tuple]:
        outside = [self.victim, *self.victim.rglob("*")]
        beside = [path.name for path in self.folder.parent.iterdir() if path != self.folder]
        contents = [p.read_bytes() if p.is_file() else b"" for p in outside]
        times = [p.stat().st_mtime_ns for p in outside]
        return sorted([*beside, *zip(map(str, outside), times, contents, strict=True)], key=str)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        self._is_watching = True
        try:
            yield
        finally:
            self._is_watching = False

    def _watch(self, event: str, arguments: tuple) -> None:
        is_ours = event == "subprocess.Popen" and arguments[0] == "git"  # the revision of ours
        if self._is_watching and event in FORBIDDEN and not is_ours:
            self.events.append(f"{event} {arguments!r}"[:200])
