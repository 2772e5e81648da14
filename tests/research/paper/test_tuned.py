"""A recipe of tuning, from its base to the LDS, on a tiny pipeline and a few images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.tiny_pipelines import make

from creditline import api
from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion.generation import read_record
from creditline.diffusion.load import checkpoints, load_model
from creditline.errors import ModelError, SettingsError
from creditline.evaluation.counterfactual.sampling_plan import read_targets
from creditline.evaluation.counterfactual.training_config import read_training_config
from creditline.evaluation.lds.compare import compare_methods
from creditline.runtime import Runtime
from creditline_research.paper.cost import measure
from creditline_research.paper.images import load
from creditline_research.paper.recipes import recipe
from creditline_research.paper.run import RecipeFolders, run

pytest.importorskip("peft")

pytestmark = pytest.mark.slow

CLASSES = ("cat", "dog", "eel")
PROMPTS = {"cat": "a cat painting", "eel": "a eel painting"}
TINY = replace(
    recipe("artbench2"),
    classes=("cat", "eel"),
    pool=20,
    test_pool=12,
    train_images=12,
    validation=4,
    generated=4,
    resolution=16,
    epochs=4,
    batch_size=6,
    subsets=8,
    seeds=1,
    loss_timesteps=2,
    loss_draws=1,
    sampling_steps=2,
    targets=2,
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "sd"
    make("sd").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe") / "data"
    for part, each in (("train", 10), ("test", 6)):
        shape = (3 * each, 16, 16, 3)
        pixels = np.random.default_rng(each).integers(0, 256, shape, dtype=np.uint8)
        names = [f"{CLASSES[i // each]}/{i % each:04d}.png" for i in range(3 * each)]
        ImageSet.from_images(pixels, names=names).save(folder / part)
        (folder / part / "metadata.csv").unlink()
    return folder


def test_from_the_base_to_the_lds(base, data, tmp_path):
    images = load(TINY, str(data))
    for part in (images.train, images.validation):
        names = [part.label_names[label] for label in part.labels]
        assert part.texts == tuple(PROMPTS[name] for name in names)
    out, folders = tmp_path / "out", RecipeFolders.of(tmp_path / "out")
    truth = run(TINY, images, out, base=base, runtime=Runtime(threads=1))
    assert truth.losses.shape == (8, 1, 8)
    np.testing.assert_array_equal(truth.masks, images.masks)
    assert len(np.unique(truth.losses[:, 0, 0])) > 1
    assert not folders.encoded.exists()
    again = run(TINY, images, out, base=load_model(base), runtime=Runtime(threads=1))
    assert again.digest() == truth.digest()

    model = load_model(folders.model)
    assert len(checkpoints(folders.model)) == 4  # of 8 steps, every second
    record = read_record(folders.generated)
    details = [record.details(f"{i:05d}.png") for i in range(4)]
    assert [d["prompt"] for d in details] == [*PROMPTS.values()] * 2
    assert {(d["guidance"], d["steps"], d["model"]) for d in details} == {
        (7.5, 2, model.fingerprint)
    }
    stored = load_images(folders.images)
    config, start = read_training_config(folders.model, stored)
    assert (config.adapter.lora_rank, config.caption_dropout, config.seed) == (128, 0.1, 42)
    assert start.fingerprint == load_model(base).fingerprint
    targets = [folders.targets.parent / name for name in folders.targets.read_text().split()]
    assert len(read_targets(targets, stored, model.fingerprint)[1].prompts) == 2

    index = api.index(model, stored, out=tmp_path / "index", dim=16, timesteps=2)
    adapter = sum(p.numel() for n, p in model.module.named_parameters() if "lora" in n)
    assert index.manifest.facts["parameters"] == adapter
    queries = [("validation", folders.validation), ("generated", folders.generated)]
    comparison = compare_methods(index, truth, queries)
    assert np.isfinite(comparison.group("generated").results[0].lds.mean)


def test_bases_that_do_not_fit_are_refused_before_anything_is_written(
    base, data, tmp_path, tiny_model
):
    images = load(TINY, str(data))
    wide = load_model(base, encoding={"side": 32})
    for start, error, match in [
        (None, SettingsError, "there is none"),
        (tiny_model, ModelError, "reads none"),
        (wide, ModelError, r"images of 16 pixels, and .* is for 32.*--side 16"),
    ]:
        with pytest.raises(error, match=match):
            run(TINY, images, tmp_path / "out", base=start)
    with pytest.raises(SettingsError, match="from scratch"):
        run(recipe("cifar2"), images, tmp_path / "out", base=base)
    assert not (tmp_path / "out").exists()


def test_its_speed_is_that_of_tuning_the_base(base):
    start = load_model(base)
    before = start.fingerprint
    for precision in ("fp32", "bf16"):
        speed = measure(TINY.on(precision), start, steps=1)
        assert min(speed.step, speed.image, speed.forward) > 0
    assert start.fingerprint == before
    with pytest.raises(SettingsError, match="there is none"):
        measure(TINY)
