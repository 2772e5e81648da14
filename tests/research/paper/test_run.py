"""A complete run of a recipe on a data set of a few images; see test_splits for its real splits."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion import presets
from creditline.diffusion.config import TrainConfig, UNetConfig
from creditline.diffusion.load import checkpoints
from creditline.errors import DataError, IndexMismatchError, ModelError
from creditline.evaluation.counterfactual.training_config import read_training_config
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.manifest import Manifest
from creditline.runtime import Runtime
from creditline_research.paper.images import load, select_images
from creditline_research.paper.recipes import recipe
from creditline_research.paper.run import RecipeFolders, run

CLASSES = ("cat", "dog", "eel")
TINY = replace(
    recipe("cifar2"),
    classes=("cat", "eel"),
    pool=20,
    test_pool=12,
    train_images=12,
    validation=4,
    generated=2,
    resolution=8,
    network="tiny-8",
    epochs=2,
    batch_size=4,
    subsets=8,
    seeds=1,
    loss_timesteps=2,
    loss_draws=1,
    sampling_steps=2,
    targets=1,
)


def random_images(each, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (3 * each, 8, 8, 3), dtype=np.uint8)
    labels = [i // each for i in range(3 * each)]
    names = [f"{CLASSES[label]}/{i % each:04d}.png" for i, label in enumerate(labels)]
    return ImageSet.from_images(pixels, names=names, labels=labels, label_names=CLASSES)


@pytest.fixture(autouse=True)
def _tiny_network(monkeypatch):
    unet = UNetConfig(resolution=8, channels=(4,), groups=4, head_dim=4)
    monkeypatch.setitem(presets.PRESETS, "tiny-8", TrainConfig(unet=unet))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe") / "data"
    for part, each in (("train", 10), ("test", 6)):
        random_images(each, each).save(folder / part)
        (folder / part / "metadata.csv").unlink()
    return folder


def test_images_are_of_the_recipes_classes(data):
    loaded = load(TINY, str(data))
    assert [loaded.train.label_names[label] for label in loaded.train.labels] == (
        ["cat"] * 6 + ["eel"] * 6
    )
    assert list(loaded.validation.labels) == [0, 0, 2, 2]
    assert list(loaded.train.names) == sorted(loaded.train.names)
    assert loaded.masks.shape == (8, 12)
    assert (loaded.masks.sum(1) == 6).all()
    by_class = loaded.masks.reshape(8, 2, 6).sum(2)
    assert (by_class == 3).all()


def test_other_data_is_refused(data):
    train, test = random_images(10, 0), random_images(6, 1)
    with pytest.raises(DataError, match="has cat, dog, eel"):
        select_images(replace(TINY, classes=("eel", "fox")), train, test)
    with pytest.raises(DataError, match="draws from 20 images"):
        select_images(TINY, random_images(9, 0), test)
    with pytest.raises(DataError, match=r"ukiyo_e.*has cat, dog, eel"):
        load(replace(recipe("artbench2"), resolution=8), str(data))
    with pytest.raises(DataError, match="202,599"):
        load(recipe("celeba"), str(data))
    with pytest.raises(DataError, match="not a folder"):
        load(recipe("celeba"), str(data / "none"))


def test_celeba_opens_only_what_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("creditline_research.paper.images.CELEBA_FILES", 40)
    tiny = replace(TINY, classes=(), pool=30, test_pool=10, center_crop=6)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 10, 3), dtype=np.uint8)
    faces = ImageSet.from_images(pixels, names=[f"{i:06d}.png" for i in range(1, 41)])
    faces.save(tmp_path / "faces")
    names = [f"{i:06d}.png" for i in range(1, 41)]
    loaded = load(tiny, str(tmp_path / "faces"))
    assert set(loaded.train.names) <= set(names[:30])
    assert set(loaded.validation.names) <= set(names[30:])
    assert (len(loaded.train), len(loaded.validation)) == (12, 4)
    assert loaded.train.shape == (3, 8, 8)
    opened = (tmp_path / "faces" / name for name in (*loaded.train.names, *loaded.validation.names))
    needed = {path.name for path in opened}
    for name in set(names) - needed:
        (tmp_path / "faces" / name).write_bytes(b"not an image")
    assert load(tiny, str(tmp_path / "faces")).train.ids == loaded.train.ids


@pytest.mark.slow
def test_everything_in_one_folder(data, tmp_path):
    out = tmp_path / "out"
    images = load(TINY, str(data))
    truth = run(TINY, images, out, runtime=Runtime(threads=1))
    assert truth.finished.all()
    assert truth.losses.shape == (8, 1, 6)
    np.testing.assert_array_equal(truth.masks, images.masks)
    folders = RecipeFolders.of(out)
    listed = folders.targets.read_text("utf-8").split()
    assert all((folders.targets.parent / name).is_file() for name in listed)
    assert len(listed) == 1
    stored = GroundTruth.read(folders.ground_truth)
    assert stored.digest() == truth.digest()
    assert len(checkpoints(folders.model)) == 3  # of 6 steps, every second
    assert Manifest.read(folders.model, "run").request["config"]["seed"] == 42

    again = run(TINY, images, out, runtime=Runtime(threads=1))
    assert again.digest() == truth.digest()
    shutil.rmtree(folders.ground_truth)
    assert run(TINY, images, out, runtime=Runtime(threads=1)).digest() == truth.digest()

    config, base = read_training_config(folders.model, load_images(folders.images))
    assert (config.seed, config.steps, base) == (42, 6, None)
    with pytest.raises(DataError, match="was trained on 12 images"):
        read_training_config(folders.model, images.validation)
    with pytest.raises(ModelError, match="scratch"):
        read_training_config(folders.model, load_images(folders.images), base=folders.model)

    other = replace(TINY, train_images=10)
    with pytest.raises(IndexMismatchError, match="another --out"):
        run(other, load(other, str(data)), out)


@pytest.mark.slow
def test_the_base_of_a_run_is_found_again(data, tmp_path, tiny_model):
    from creditline.diffusion.train import train

    images = load(TINY, str(data)).train
    config = TINY.config()
    base = train(images, tmp_path / "base", replace(config, steps=1, checkpoint_every=0))
    tuned = train(images, tmp_path / "tuned", replace(config, steps=1), base=str(base))
    config, start = read_training_config(tuned, images)
    assert start.fingerprint == read_training_config(tuned, images, base=base)[1].fingerprint
    assert config.steps == 1
    with pytest.raises(ModelError, match="which has other weights"):
        read_training_config(tuned, images, base=tiny_model)
