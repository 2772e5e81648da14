"""Retraining: every number is that of one training, however and how often it was interrupted."""

from __future__ import annotations

import json
import multiprocessing
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from creditline.data.image_set import ImageSet
from creditline.diffusion.config import TrainConfig, UNetConfig
from creditline.diffusion.load import load_model
from creditline.diffusion.train import train
from creditline.errors import (
    CreditlineError,
    DataError,
    IndexMismatchError,
    ModelError,
    NumericsError,
    SettingsError,
)
from creditline.evaluation.truth import retraining as module
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.evaluation.truth.losses import LossPlan, measure_losses
from creditline.evaluation.truth.query_sets import name_folders
from creditline.evaluation.truth.retraining import RetrainingConfig, retrain
from creditline.evaluation.truth.subsets import SubsetSpec, draw_masks
from creditline.runtime import Runtime

FILES = ("masks.npy", "losses.npy", "images.csv", "queries.csv", "tables.json")
CONFIG = TrainConfig(
    unet=UNetConfig(resolution=8, channels=(4,), groups=4, head_dim=4),
    steps=2,
    batch_size=4,
    seed=5,
)
SETTINGS = RetrainingConfig(
    SubsetSpec(subsets=8), LossPlan(loss_timesteps=2, loss_draws=1), seeds=2
)


@dataclass
class BiasTrainer:
    """A trainer that takes no time: it sets the output bias to the mean of the subset."""

    gain: float = 1.0
    secret: object = object()

    def __call__(self, images: ImageSet, seed: int, folder: Path) -> object:
        shift = self.gain * float(images.pixels().mean()) + seed
        with torch.no_grad():
            self.model.module.conv_out.bias.fill_(shift)
        return self.model


@pytest.fixture(autouse=True)
def _model(tiny_model, monkeypatch):
    monkeypatch.setattr(BiasTrainer, "model", tiny_model, raising=False)


@pytest.fixture
def queries():
    pixels = np.random.default_rng(9).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    return {
        "validation": ImageSet.from_images(pixels[:3]),
        "generated": ImageSet.from_images(pixels[3:]),
    }


@pytest.fixture
def run_retraining(tiny_images, queries, tmp_path):
    """A function: retrain with the tiny settings into a folder of this name."""

    def run(name="truth", config=CONFIG, settings=SETTINGS, **options):
        out = tmp_path / name
        return retrain(tiny_images, queries, out, config=config, settings=settings, **options)

    return run


def same_files(a, b):
    return all((a / name).read_bytes() == (b / name).read_bytes() for name in FILES)


@pytest.mark.slow
def test_a_loss_is_that_of_a_training_by_hand(run_retraining, tiny_images, queries, tmp_path):
    truth = run_retraining()
    assert truth.masks.shape == (8, 12)
    assert truth.losses.shape == (8, 2, 5)
    assert truth.query_folders == ("validation",) * 3 + ("generated",) * 2
    assert truth.contributors == tiny_images.contributors
    assert (truth.masks == draw_masks(SETTINGS.subsets, tiny_images)).all()
    part = tiny_images.subset(np.flatnonzero(truth.masks[6]))
    run = train(part, tmp_path / "run", replace(CONFIG, seed=CONFIG.seed + 1))
    expected = [
        measure_losses(load_model(run), group, SETTINGS.losses) for group in queries.values()
    ]
    assert (truth.losses[6, 1] == np.concatenate(expected)).all()
    assert len(np.unique(truth.losses[:, :, 0])) == 16
    files = {p.name for p in (tmp_path / "truth").iterdir()}
    assert files == {"manifest.json", *FILES}
    assert GroundTruth.read(tmp_path / "truth").digest() == truth.digest()


@pytest.mark.slow
def test_a_finished_task_is_never_run_again(run_retraining, monkeypatch, tmp_path):
    trainer = BiasTrainer()
    total = run_retraining("whole", trainer)
    assert run_retraining("part", trainer, limit_tasks=5).finished.sum() == 5
    read = GroundTruth.read(tmp_path / "part")
    assert read.finished.sum() == 5
    assert len(read.complete_subsets().masks) == 2, "both seeds of a subset come before the next"
    (tmp_path / "part" / "losses.npy").unlink()  # the tasks' own files are enough
    trained = []
    original = BiasTrainer.__call__
    monkeypatch.setattr(
        BiasTrainer,
        "__call__",
        lambda self, i, s, f: trained.append(f.name) or original(self, i, s, f),
    )
    part = run_retraining("part", trainer)
    assert trained == [f"{j:05d}-{s}" for j in range(8) for s in range(2)][5:]
    assert part.digest() == total.digest()
    assert run_retraining("part", trainer).digest() == total.digest()
    assert len(trained) == 11
    assert same_files(tmp_path / "whole", tmp_path / "part")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks a process that uses torch")
def test_repeated_kills_change_no_file(run_retraining, tmp_path):
    """SIGKILL at ten random moments: within a training, a measurement, a write."""
    total = run_retraining("whole")
    rng, kills = np.random.default_rng(0), 0
    context = multiprocessing.get_context("fork")
    while True:
        process = context.Process(target=run_retraining, args=("killed",))
        process.start()
        process.join(rng.uniform(0.01, 0.15) if kills < 10 else None)
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        kills += 1
    assert process.exitcode == 0
    assert kills == 10
    assert GroundTruth.read(tmp_path / "killed").digest() == total.digest()
    assert same_files(tmp_path / "whole", tmp_path / "killed")
    assert {p.name for p in (tmp_path / "killed").iterdir()} == {"manifest.json", *FILES}


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(run_retraining, tmp_path):
    few = {"settings": replace(SETTINGS, seeds=1), "masks": np.eye(12, dtype=bool)[:2]}
    run_retraining("one", **few)
    run_retraining("two", **few, runtime=Runtime(workers=2))
    assert same_files(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_it_grows(run_retraining, monkeypatch, tmp_path):
    trainer = BiasTrainer()
    more = replace(SETTINGS, subsets=replace(SETTINGS.subsets, subsets=11), seeds=3)
    run_retraining("grown", trainer)
    tasks, original = [], module.run_task
    monkeypatch.setattr(module, "run_task", lambda j, t: tasks.append(t) or original(j, t))
    grown = run_retraining("grown", trainer, more, limit_tasks=4)
    assert (~grown.finished).sum() == 33 - 16 - 4
    grown = run_retraining("grown", trainer, more)
    assert len(tasks) == 33 - 16
    assert grown.digest() == run_retraining("fresh", trainer, more).digest()
    assert same_files(tmp_path / "grown", tmp_path / "fresh")
    with pytest.raises(IndexMismatchError, match="11 subsets with 3 seeds each, and 8 with 2"):
        run_retraining("grown", trainer)


@pytest.mark.slow
def test_models_can_be_kept(run_retraining, queries, tmp_path):
    settings = RetrainingConfig(SETTINGS.subsets, SETTINGS.losses, seeds=1, keep_models=True)
    truth = run_retraining(settings=settings)
    stored = sorted(p.name for p in (tmp_path / "truth" / "models").iterdir())
    assert stored == [f"{j:05d}-0" for j in range(8)]
    model = load_model(tmp_path / "truth" / "models" / "00003-0")
    assert (
        measure_losses(model, queries["validation"], SETTINGS.losses) == truth.losses[3, 0, :3]
    ).all()


@pytest.mark.slow
def test_models_kept_once_survive_growth_without_keeping(run_retraining, tmp_path):
    def writing(images, seed, folder):
        folder.mkdir(parents=True)
        (folder / "model.txt").write_text("mine", "utf-8")
        return BiasTrainer()(images, seed, folder)

    few = replace(SETTINGS, seeds=1)
    run_retraining(config=writing, settings=replace(few, keep_models=True))
    run_retraining(config=writing, settings=replace(few, subsets=SubsetSpec(subsets=10)))
    assert len(list((tmp_path / "truth" / "models").iterdir())) == 8
    assert not (tmp_path / "truth" / "tasks").exists()


def test_models_kept_by_an_interrupted_call_survive_one_without_keeping(run_retraining, tmp_path):
    def writing(images, seed, folder):
        folder.mkdir(parents=True)
        (folder / "model.txt").write_text("mine", "utf-8")
        return BiasTrainer()(images, seed, folder)

    few = replace(SETTINGS, seeds=1)
    run_retraining(config=writing, settings=replace(few, keep_models=True), limit_tasks=3)
    run_retraining(config=writing, settings=few)
    stored = sorted(p.name for p in (tmp_path / "truth" / "models").iterdir())
    assert stored == [f"{j:05d}-0" for j in range(3)]


@pytest.mark.slow
@pytest.mark.parametrize("limit", [3, None])
def test_queries_in_another_order_are_refused(
    run_retraining, tiny_images, queries, tmp_path, limit
):
    run_retraining(config=BiasTrainer(), limit_tasks=limit)
    before = (tmp_path / "truth" / "queries.csv").read_bytes()
    turned = dict(reversed(queries.items()))
    with pytest.raises(IndexMismatchError, match=r"validation, generated; .* generated, val"):
        retrain(tiny_images, turned, tmp_path / "truth", config=BiasTrainer(), settings=SETTINGS)
    assert (tmp_path / "truth" / "queries.csv").read_bytes() == before


@pytest.mark.slow
def test_subsets_can_be_given(run_retraining, tmp_path):
    trainer, masks = BiasTrainer(), np.eye(12, dtype=int)[:3]
    truth = run_retraining(config=trainer, masks=masks)
    assert (truth.masks == masks).all()
    assert truth.recipe["subsets"]["scheme"] == "given"
    with pytest.raises(IndexMismatchError, match=r"subsets\.masks"):
        run_retraining(config=trainer, masks=1 - masks)
    with pytest.raises(DataError, match=r"each of 12 training images; got shape .3, 11"):
        run_retraining("other", trainer, masks=masks[:, :11])
    people = replace(SETTINGS, subsets=SubsetSpec(scheme="leave-one-contributor-out"))
    assert run_retraining("people", trainer, people).masks.shape == (3, 12)


@pytest.mark.slow
def test_a_base_is_tuned(run_retraining, tiny_images, tmp_path):
    base = train(tiny_images, tmp_path / "base", CONFIG)
    still = replace(CONFIG, learning_rate=1e-30)
    truth = run_retraining(config=still, base=base, limit_tasks=3)
    assert (truth.losses[0] == truth.losses[0, 0]).all(), "nothing learned, so nothing differs"
    with pytest.raises(IndexMismatchError, match=r"training\.base"):
        run_retraining(config=still)
    with pytest.raises(ModelError, match=r"prediction: 'epsilon' in the base"):
        run_retraining("other", config=replace(still, prediction="sample"), base=base)


@pytest.mark.slow
def test_what_decides_the_numbers_is_in_the_recipe_and_nothing_else(
    run_retraining, tiny_images, queries, tmp_path
):
    run_retraining(limit_tasks=1)
    recipe = json.loads((tmp_path / "truth" / "manifest.json").read_text("utf-8"))["request"]
    assert recipe["training"]["config"]["steps"] == 2
    run_retraining(config=replace(CONFIG, checkpoint_every=1), limit_tasks=1)
    for changes in (
        {"config": replace(CONFIG, learning_rate=1e-4)},
        {"settings": replace(SETTINGS, losses=LossPlan(3, 1))},
        {"settings": replace(SETTINGS, subsets=SubsetSpec(subsets=8, alpha=0.25))},
        {"settings": replace(SETTINGS, subsets=SubsetSpec(subsets=8, stratify="contributor"))},
    ):
        with pytest.raises(IndexMismatchError, match="made from something else"):
            run_retraining(**changes)
    with pytest.raises(IndexMismatchError, match="queries"):
        retrain(
            tiny_images,
            {"validation": queries["validation"]},
            tmp_path / "truth",
            config=CONFIG,
            settings=SETTINGS,
        )
    other = replace(CONFIG, seed=6)
    assert run_retraining(config=other, overwrite=True, limit_tasks=1).finished.sum() == 1


@pytest.mark.slow
def test_a_trainer_is_known_by_its_source_and_settings(run_retraining):
    recipe = run_retraining(config=BiasTrainer(2.0)).recipe["training"]
    assert recipe["trainer"].endswith("BiasTrainer")
    assert recipe["settings"] == {"gain": 2.0, "secret": "object"}
    assert len(recipe["source"]) == 32
    with pytest.raises(IndexMismatchError, match=r"settings\.gain: 2\.0 on disk, 3\.0 asked for"):
        run_retraining(config=BiasTrainer(3.0))


def test_a_failed_training_says_which(run_retraining):
    with pytest.raises(NumericsError, match=r"Subset 0, seed 0: The loss of query 00000\.png"):
        run_retraining(config=BiasTrainer(float("nan")))


@pytest.mark.slow
def test_a_full_disk_loses_nothing(run_retraining, monkeypatch):
    original, writes = module.write_array, []

    def full(path, array):
        writes.append(path)
        if len(writes) == 3:
            raise OSError(28, "No space left on device")
        original(path, array)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_array", full)
        with pytest.raises(CreditlineError, match="3 of 16 models are finished and safe"):
            run_retraining(config=BiasTrainer())
    assert run_retraining(config=BiasTrainer()).finished.all()


def test_what_cannot_be_done_is_refused_before_a_folder_is_made(
    run_retraining, tiny_images, queries, tmp_path
):
    out = tmp_path / "truth"
    with pytest.raises(ModelError, match="16x16"):
        run_retraining(config=replace(CONFIG, unet=replace(CONFIG.unet, resolution=16)))
    with pytest.raises(SettingsError, match="seeds must be at least 1; got 0"):
        RetrainingConfig(seeds=0)
    with pytest.raises(SettingsError, match="limit_tasks must be at least 1; got 0"):
        run_retraining(limit_tasks=0)
    with pytest.raises(SettingsError, match="1000 timesteps has at most 1000; got 1001"):
        run_retraining(settings=replace(SETTINGS, losses=LossPlan(1001, 1)))
    with pytest.raises(SettingsError, match="workers must be at least 1; got 0"):
        run_retraining(runtime=Runtime(workers=0))
    with pytest.raises(SettingsError, match="chooses its own base"):
        run_retraining(config=lambda images, seed, folder: None, base=out)
    with pytest.raises(DataError, match="no queries"):
        retrain(tiny_images, {}, out, config=CONFIG)
    same = [("a", queries["validation"]), ("a", queries["generated"])]
    with pytest.raises(DataError, match="Two sets of queries are called 'a'"):
        retrain(tiny_images, same, out, config=CONFIG)
    small = ImageSet.from_images(np.zeros((1, 4, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"4, 4"):
        retrain(tiny_images, {"a": small}, out, config=CONFIG)
    assert not out.exists()


def test_folders_that_share_their_last_name_are_called_by_their_path():
    assert name_folders(["x/val", "y/gen/", "z/val"]) == [
        ("x/val", "x/val"),
        ("gen", "y/gen/"),
        ("z/val", "z/val"),
    ]
