"""Damaged files are refused, or made again: no answer differs from that of the intact ones.

Bits are flipped and parts cut off, zeroed and replaced in every kind of file that is stored.
"""

from __future__ import annotations

import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import creditline as cl
from creditline.diffusion.generation import read_record, read_trajectory
from creditline.diffusion.saving import save_pixel_pipeline
from creditline.diffusion.training_state import TrainingState
from creditline.errors import CreditlineError, DamageError
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.indexing import build as building
from creditline.trace import Trace
from creditline.verification import verify

SETTINGS: dict[str, Any] = {"method": "trak", "timesteps": 3, "dim": 64, "shard_rows": 4}
WAYS = ("flip", "flip 8", "cut", "empty", "zero", "garbage", "append", "delete")
KINDS = ("index", "change", "unfinished index", "trace", "model", "state", "truth", "images")


@pytest.fixture
def make(tiny_model, tiny_images, tmp_path, monkeypatch):
    """Makes a folder of a kind; returns it and a function that reads an answer from a copy."""
    images, queries = tiny_images.subset(range(8)), tiny_images.subset([1, 9])
    folder = tmp_path / "intact"

    def index(out: Path, **changes: Any) -> cl.Index:
        return cl.index(tiny_model, images, out=out, **{**SETTINGS, **changes})

    def traced(path: Path) -> object:
        return cl.open_index(path, model=tiny_model).trace(queries, top=3).queries

    def make_index() -> Callable[[Path], object]:
        index(folder).trace(queries, top=3)
        return traced

    def make_change() -> Callable[[Path], object]:
        changed = index(folder).remove([2])
        changed.trace(queries, top=3)

        def change(path: Path) -> object:
            opened = cl.open_index(path, model=tiny_model)
            trace = opened.add(tiny_images.subset([10, 11])).trace(queries, top=3)
            # Curvature that is updated or fitted anew differs by rounding.
            return [(hit.row, hit.name, round(hit.score, 9)) for q in trace for hit in q.proponents]

        return change

    def make_unfinished_index() -> Callable[[Path], object]:
        def stop(*args: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(building.Store, "commit", stop)
            with pytest.raises(KeyboardInterrupt):
                index(folder, projection="principal", rank=4, learn_from=8)
        return lambda path: index(path, projection="principal", rank=4, learn_from=8).digest()

    def make_trace() -> Callable[[Path], object]:
        index(tmp_path / "index").trace(queries, top=3).to_json(folder / "trace.json")
        return lambda path: Trace.from_json(path / "trace.json")

    def make_model() -> Callable[[Path], object]:
        save_pixel_pipeline(tiny_model, folder, {"step": 3, "learning_rate": 0.1}, tmp_path)

        def load(path: Path) -> object:
            model = cl.load_model(path)
            return model.fingerprint, model.process.to_dict()

        return load

    def make_state() -> Callable[[Path], object]:
        def state() -> TrainingState:
            torch.manual_seed(0)
            module = torch.nn.Linear(4, 3)
            return TrainingState(module, torch.optim.AdamW(module.parameters(), lr=0.1), 0.9)

        before = state()
        before.module(torch.ones(4)).sum().backward()
        before.advance()
        folder.mkdir()
        before.save(folder)

        def load(path: Path) -> object:
            after = state()
            if not after.load(path):
                raise CreditlineError("trains from the beginning")
            values = [after.step, after.scale, *after.trained.values(), *after.average.values()]
            return repr([*values, list(after.optimizer.state.values())])

        return load

    def make_truth() -> Callable[[Path], object]:
        rng = np.random.default_rng(0)
        masks, losses = rng.random((9, 8)) < 0.5, rng.standard_normal((9, 2, 2))
        masks[0], masks[1] = True, False
        masks[1, 0] = True
        GroundTruth.from_arrays(masks, losses, images, [("q", queries)]).write(folder)
        return lambda path: GroundTruth.read(path).digest()

    def make_images() -> Callable[[Path], object]:
        config = cl.GenerateConfig(steps=2, trajectory=True)
        cl.generate(tiny_model, 2, folder, config)
        for image in folder.glob("*.png"):
            image.unlink()  # a format of its own, with checks of its own

        def read(path: Path) -> object:
            record = read_record(path)
            if record is None:  # images without a record
                raise CreditlineError("no record")
            names = ("00000.png", "00001.png")
            runs = [read_trajectory(path, name) for name in names]
            details = [record.details(name) for name in names]
            return repr((details, [(t.tolist(), x.tolist()) for t, x in runs]))

        return read

    def make_kind(kind: str) -> tuple[Path, Callable[[Path], object]]:
        return folder, locals_of[kind]()

    locals_of = {
        "index": make_index,
        "change": make_change,
        "unfinished index": make_unfinished_index,
        "trace": make_trace,
        "model": make_model,
        "state": make_state,
        "truth": make_truth,
        "images": make_images,
    }
    return make_kind


def damage(path: Path, way: str, rng: np.random.Generator) -> None:
    """Damage a file in one of `WAYS`."""
    data = bytearray(path.read_bytes())
    place = int(rng.integers(max(1, len(data))))
    for _ in range({"flip": 1, "flip 8": 8}.get(way, 0) if data else 0):
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    if way == "cut":
        data = data[:place]
    elif way == "zero":
        data[place : place + 64] = bytes(len(data[place : place + 64]))
    elif way == "garbage":
        data = bytearray(rng.bytes(len(data)))
    elif way == "append":
        data += rng.bytes(16)
    if way == "delete":
        path.unlink()
    else:
        path.write_bytes(b"" if way == "empty" else data)


def outcomes(folder: Path, answer: Callable[[Path], object], count: int, seed: int) -> Counter:
    """Damage files one by one; count what is refused and what is right, and fail on the rest."""
    rng, counts = np.random.default_rng(seed), Counter[str]()
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    expected = answer(copy)
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    rng.shuffle(files)
    for i in range(count):
        file, way = files[i % len(files)], WAYS[int(rng.integers(len(WAYS)))]
        shutil.rmtree(copy)
        shutil.copytree(folder, copy)
        damage(copy / file, way, rng)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                result = answer(copy)
            except CreditlineError:
                counts["refused"] += 1
                continue
            except BaseException as error:
                raise AssertionError(f"{file}, {way}: {error!r}") from error
        assert result == expected, f"{file}, {way}: another answer"
        counts["right"] += 1
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_refused_or_mended(make, kind):
    counts = outcomes(*make(kind), count=10, seed=0)
    assert counts["refused"] > 0


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_much_damage_is_refused_or_mended(make, kind, capsys):
    counts = outcomes(*make(kind), count=150, seed=1)
    with capsys.disabled():
        print(f"\n{kind}: {dict(counts)}")


@pytest.mark.slow
def test_damaged_results_of_fitting_are_computed_again(make):
    folder, answer = make("index")
    expected = answer(folder)
    for path in [p for p in folder.glob("fitted/**/*") if p.is_file()]:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.warns(match="computed again"):
            assert answer(folder) == expected
        assert not verify(folder).damaged


@pytest.mark.slow
def test_a_damaged_newer_version_of_the_table_is_not_looked_at(make):
    folder, answer = make("index")
    expected = answer(folder)
    (newest,) = (folder / "images.lance" / "_versions").glob("*.manifest")
    for content in (b"", b"garbage" * 9):
        newer = newest.with_name(f"{int(newest.stem) - 1:020d}.manifest")
        newer.write_bytes(content)
        assert answer(folder) == expected
    assert cl.open_index(folder, model=None).remove([0]).n == 7


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("change", "state")])
def test_verify_names_what_is_damaged(make, kind):
    folder, _ = make(kind)
    place = folder / "trace.json" if kind == "trace" else folder
    if kind == "images":
        with pytest.raises(DamageError):
            raise DamageError(verify(place).damaged[0].message)  # the images are missing
        return
    result = verify(place)
    assert not result.damaged
    for file in result.files:
        if file.state == "intact":
            path = folder / file.name
            content = path.read_bytes()
            path.write_bytes(content[:-3])
            damaged = [f.name for f in verify(place).damaged]
            assert file.name in damaged
            path.write_bytes(content)


def test_verify_needs_something_of_ours(tmp_path):
    with pytest.raises(CreditlineError, match="holds nothing of Creditline"):
        verify(tmp_path)


@pytest.mark.slow
def test_files_have_the_permissions_of_new_files(make):
    folder, _ = make("index")
    (folder / "new").touch()
    mode = (folder / "new").stat().st_mode
    assert {p.stat().st_mode for p in folder.rglob("*") if p.is_file()} == {mode}


def test_a_model_that_was_changed_on_purpose_loads_without_its_record(make):
    folder, answer = make("model")
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text("utf-8").replace('"linear"', '"scaled_linear"'), "utf-8")
    with pytest.raises(DamageError, match=r"If you changed it, delete creditline\.json"):
        answer(folder)
    (folder / "creditline.json").unlink()
    answer(folder)
