"""Counterfactual evaluation: identities, resuming and errors."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from creditline.data.image_set import ImageSet
from creditline.diffusion.config import GenerateConfig, TrainConfig, UNetConfig
from creditline.diffusion.generation import generate
from creditline.diffusion.load import load_model
from creditline.diffusion.train import train
from creditline.errors import DataError, IndexMismatchError, SettingsError
from creditline.evaluation.counterfactual import retraining
from creditline.evaluation.counterfactual.experiment import (
    SHEET,
    CounterfactualConfig,
    run_counterfactual,
)
from creditline.evaluation.counterfactual.images import RESULT
from creditline.evaluation.counterfactual.removal import LEAST, NOTHING, OTHER_SEED, RANDOM
from creditline.evaluation.counterfactual.result import BEFORE
from creditline.notice import Notice
from creditline.runtime import Runtime

N, M = 10, 2
UNET = UNetConfig(resolution=8, channels=(4,), groups=4, head_dim=4)
CONFIG = TrainConfig(unet=UNET, steps=3, batch_size=4, seed=5, learning_rate=0.02)
SCORES = {"d-trak": np.random.default_rng(3).standard_normal((M, N))}
EACH = CounterfactualConfig(removals=(3,))


@pytest.fixture(scope="module")
def images():
    pixels = np.random.default_rng(0).integers(0, 256, (N, 8, 8, 3), dtype=np.uint8)
    return ImageSet.from_images(pixels)


@pytest.fixture(scope="module")
def targets(images, tmp_path_factory):
    """Two images that the model generated, one at a time."""
    place = tmp_path_factory.mktemp("counterfactual")
    run = train(images, place / "run", CONFIG, runtime=Runtime(threads=1))
    sampling = GenerateConfig(steps=4, seed=11)
    return generate(run, M, place / "images", sampling, batch_size=1)


@pytest.fixture(scope="module")
def done(images, targets, tmp_path_factory):
    """Folder and result of a complete evaluation."""
    folder = tmp_path_factory.mktemp("counterfactual") / "each"
    return folder, run_counterfactual(images, targets, SCORES, folder, config=CONFIG, settings=EACH)


def by_rule(result):
    return {summary.rule: summary for summary in result.summaries()}


def contents(folder):
    files = [f for f in folder.rglob("*") if f.is_file() and f.name != "manifest.json"]
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in files}


@pytest.fixture
def trained(monkeypatch):
    """Names of the model folders that are trained; `stop` interrupts after this number."""
    log = []

    def training(images, out, config, **more):
        if len(log) == training.stop:
            raise KeyboardInterrupt
        log.append(out.name)
        return train(images, out, config, **more)

    training.stop, training.log = None, log
    monkeypatch.setattr(retraining, "train", training)
    return training


@pytest.mark.slow
def test_nothing_removed_changes_nothing(done):
    _, result = done
    nothing = by_rule(result)[NOTHING]
    assert nothing.targets == M
    assert nothing.metrics["l2"].median == nothing.metrics["mse"].median == 0
    assert nothing.metrics["l2"].interval == (0, 0)
    np.testing.assert_allclose(nothing.metrics["ssim"].median, 1)
    np.testing.assert_array_equal(result.images[NOTHING, 0], result.images[BEFORE, 0])


@pytest.mark.slow
def test_removal_and_another_seed_change_images(done):
    _, result = done
    summaries = by_rule(result)
    assert list(summaries) == [NOTHING, OTHER_SEED, "d-trak", RANDOM, LEAST]
    for rule in (OTHER_SEED, "d-trak", RANDOM, LEAST):
        assert summaries[rule].metrics["l2"].median > 0
        assert "cosine" not in summaries[rule].metrics
    assert summaries["d-trak"].removed == 3
    assert summaries[RANDOM].over_random is None
    differences = [
        a.l2 - b.l2
        for a in result.changes
        for b in result.changes
        if (a.rule, b.rule, a.image) == ("d-trak", RANDOM, b.image)
    ]
    assert summaries["d-trak"].over_random.median == pytest.approx(np.median(differences))


@pytest.mark.slow
def test_the_folder_contains_the_result(done):
    folder, result = done
    stored = json.loads((folder / RESULT).read_text("utf-8"))
    checksum = stored.pop("checksum")
    assert stored == json.loads(json.dumps(result.to_json()))
    assert len(checksum) == 32
    assert len(stored["changes"]) == 5 * M
    sheet = np.asarray(Image.open(folder / SHEET))
    assert sheet.shape[1] > sheet.shape[0]  # before and five removals of two targets
    assert not (folder / "models").exists() or not any((folder / "models").iterdir())
    assert json.loads((folder / "manifest.json").read_text("utf-8"))["status"] == "complete"


@pytest.mark.slow
def test_an_image_is_generated_by_the_model_trained_without_the_removed_images(
    done, images, tmp_path
):
    from creditline.diffusion.sampling import sample

    _, result = done
    rest = np.setdiff1d(np.arange(N), np.argsort(-SCORES["d-trak"][1])[:3])
    run = train(images.subset(rest), tmp_path / "run", CONFIG, runtime=Runtime(threads=1))
    generated, _ = sample(load_model(run), [12], steps=4)
    np.testing.assert_array_equal(generated[0], result.images["d-trak", 3][1])


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 3])
def test_interrupted_and_continued(done, images, targets, trained, tmp_path, after):
    folder = tmp_path / "out"
    trained.stop = after
    with pytest.raises(KeyboardInterrupt):
        run_counterfactual(images, targets, SCORES, folder, config=CONFIG, settings=EACH)
    trained.stop = None
    shutil.rmtree(folder / "models", ignore_errors=True)
    run_counterfactual(images, targets, SCORES, folder, config=CONFIG, settings=EACH)
    assert len(trained.log) == len(set(trained.log)) == 2 + 3 * M
    assert contents(folder) == contents(done[0])


@pytest.mark.slow
def test_more_methods_and_sizes_cost_only_their_own(done, images, targets, trained, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(done[0], folder)
    scores = {**SCORES, "trak": -SCORES["d-trak"]}
    settings = replace(EACH, baselines=(NOTHING, RANDOM), keep_models=True)
    result = run_counterfactual(images, targets, scores, folder, config=CONFIG, settings=settings)
    assert len(trained.log) == M
    assert list(by_rule(result)) == [NOTHING, "d-trak", "trak", RANDOM]
    assert len(list((folder / "models").iterdir())) == M
    other = replace(CONFIG, steps=4)
    with pytest.raises(IndexMismatchError, match=r"config\.steps: 3 on disk, 4 asked for"):
        run_counterfactual(images, targets, scores, folder, config=other, settings=settings)


@pytest.mark.slow
def test_together_compares_with_controls(images, targets, trained, tmp_path):
    settings = CounterfactualConfig((3,), together=True, controls=3, baselines=(RANDOM,))

    def encoder(batch):
        return np.stack([np.asarray(p, dtype=np.float64).mean((0, 1)) for p in batch])

    result = run_counterfactual(
        images,
        targets,
        SCORES,
        tmp_path / "out",
        config=CONFIG,
        settings=settings,
        encoder=encoder,
    )
    assert (
        len(trained.log) == 3
    )  # one retraining without removal generates the controls to compare with
    summaries = by_rule(result)
    assert summaries[NOTHING].over_controls == (0, (0, 0))
    union = np.union1d(*(np.argsort(-row)[:3] for row in SCORES["d-trak"]))
    assert summaries["d-trak"].removed == len(union)
    controls = [c.l2 for c in result.changes if c.rule == "d-trak" and not c.target]
    assert len(controls) == 3
    difference, (low, high) = summaries["d-trak"].over_controls
    assert difference == pytest.approx(
        summaries["d-trak"].metrics["l2"].median - np.median(controls)
    )
    assert low <= difference <= high
    assert summaries["d-trak"].metrics["cosine"].median < 1


@pytest.mark.slow
def test_each_target_compares_with_controls_of_its_own_retraining(images, targets, done, tmp_path):
    settings = replace(EACH, controls=3, baselines=(RANDOM,))
    result = run_counterfactual(
        images, targets, SCORES, tmp_path / "out", config=CONFIG, settings=settings
    )
    summaries, before = by_rule(result), by_rule(done[1])
    for rule in ("d-trak", RANDOM):
        own = [c for c in result.changes if c.rule == rule and c.target]
        assert [c.removal_target for c in own] == list(result.names)
        controls = [c for c in result.changes if c.rule == rule and not c.target]
        assert len(controls) == 3 * M
        excess = [
            t.l2 - np.median([c.l2 for c in controls if c.removal_target == t.image]) for t in own
        ]
        difference, (low, high) = summaries[rule].over_controls
        assert difference == pytest.approx(np.median(excess))
        assert low <= difference <= high
        # Targets do not depend on whether there are controls.
        assert summaries[rule].metrics == before[rule].metrics
    assert summaries[NOTHING].over_controls == (0, (0, 0))


@pytest.mark.slow
def test_targets_need_their_seeds(images, targets, tmp_path):
    ImageSet.from_images(np.zeros((M, 8, 8, 3), np.uint8)).save(tmp_path / "images")
    with pytest.raises(DataError, match=r"seed of 00000\.png is not known"):
        run_counterfactual(images, tmp_path / "images", SCORES, tmp_path / "out", config=CONFIG)
    with pytest.raises(SettingsError, match="1 targets for 10"):
        run_counterfactual(images, targets / "00000.png", SCORES, tmp_path / "out", config=CONFIG)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_damaged_image_is_generated_again(done, images, targets, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(done[0], folder)
    damaged = min((folder / "tasks").iterdir())
    damaged.write_bytes(b"not images")
    with pytest.warns(Notice, match=damaged.name):
        run_counterfactual(images, targets, SCORES, folder, config=CONFIG, settings=EACH)
    assert contents(folder) == contents(done[0])


@pytest.mark.parametrize(
    "changes", [{"removals": ()}, {"removals": (0,)}, {"baselines": ("rand",)}, {"controls": -1}]
)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(SettingsError):
        CounterfactualConfig(**changes)
