"""Tuning on subsets: losses are those of single tunings, and nothing is encoded twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.tiny_pipelines import make

from creditline import api
from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.data.metadata_spec import MetadataSpec
from creditline.diffusion.codec import Codec
from creditline.diffusion.config import GenerateConfig
from creditline.diffusion.generation import generate
from creditline.diffusion.load import load_model
from creditline.diffusion.train import train
from creditline.diffusion.tuning.config import AdapterConfig, TuneConfig
from creditline.errors import DataError, ModelError, SettingsError
from creditline.evaluation.lds.compare import compare_methods
from creditline.evaluation.lds.config import LDSConfig
from creditline.evaluation.lds.damping import DampingSearch
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.evaluation.truth.losses import LossPlan, measure_losses
from creditline.evaluation.truth.query_sets import load_query_sets
from creditline.evaluation.truth.retraining import RetrainingConfig, retrain
from creditline.evaluation.truth.subsets import SubsetSpec, draw_masks
from creditline.runtime import Runtime

pytest.importorskip("peft")
pytestmark = pytest.mark.slow

SETTINGS = RetrainingConfig(
    SubsetSpec(subsets=8), LossPlan(loss_timesteps=2, loss_draws=1), seeds=1
)
LORA = TuneConfig(AdapterConfig(lora_rank=2), epochs=2, batch_size=2, learning_rate=1e-2, seed=5)
FULL = TuneConfig(steps=2, batch_size=2, learning_rate=1e-2)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "sd"
    make("sd").save_pretrained(folder)
    return folder


def captioned_images(n, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)
    return ImageSet.from_images(pixels, texts=[("a cat", "a house")[i % 2] for i in range(n)])


IMAGES, QUERIES = captioned_images(6, 0), captioned_images(2, 1)


def tune(base, out, config=LORA, settings=SETTINGS, **options):
    queries = {"q": QUERIES}
    return retrain(IMAGES, queries, out, config=config, base=base, settings=settings, **options)


@pytest.fixture(scope="module")
def tuned(base, tmp_path_factory):
    """A ground truth of adapters with its models, and the keys of everything that was encoded."""
    keys, original = [], Codec.encode

    def encode(self, pixels, key, device):
        keys.append(key)
        return original(self, pixels, key, device)

    folder = tmp_path_factory.mktemp("tuned") / "truth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Codec, "encode", encode)
        truth = tune(base, folder, settings=replace(SETTINGS, keep_models=True))
    return folder, truth, keys


def test_losses_are_those_of_a_single_tuning_and_the_model_can_be_kept(base, tuned, tmp_path):
    folder, truth, _ = tuned
    rows = np.flatnonzero(truth.masks[3])
    runtime = Runtime(threads=1)
    single = train(IMAGES.subset(rows), tmp_path / "single", LORA, base=base, runtime=runtime)
    assert len((single / "log.jsonl").read_text("utf-8").splitlines()) == 4
    for model in (single, folder / "models" / "00003-0"):
        losses = measure_losses(load_model(model), QUERIES, SETTINGS.losses)
        np.testing.assert_array_equal(truth.losses[3, 0], losses)
    assert len(np.unique(truth.losses[:, 0, 0])) == len(np.unique(truth.masks, axis=0)) > 5
    assert {p.name for p in folder.iterdir()} == {
        *("manifest.json", "masks.npy", "losses.npy", "images.csv", "queries.csv", "tables.json"),
        "models",
    }


def test_every_image_and_query_is_encoded_once(tuned):
    assert sorted(tuned[2]) == sorted([*IMAGES.ids, *QUERIES.ids])


def test_all_weights_can_be_tuned(base, tmp_path):
    truth = tune(base, tmp_path / "truth", FULL, limit_tasks=1)
    rows = np.flatnonzero(truth.masks[0])
    runtime = Runtime(threads=1)
    single = train(IMAGES.subset(rows), tmp_path / "single", FULL, base=base, runtime=runtime)
    losses = measure_losses(load_model(single), QUERIES, SETTINGS.losses)
    np.testing.assert_array_equal(truth.losses[0, 0], losses)


def test_interruptions_and_workers_change_no_loss(base, tuned, tmp_path):
    tune(base, tmp_path / "truth", limit_tasks=5)
    continued = tune(base, tmp_path / "truth", runtime=Runtime(workers=2))
    np.testing.assert_array_equal(tuned[1].losses, continued.losses)


def test_what_does_not_fit_is_refused_first(base, tmp_path):
    bare = ImageSet.from_images(QUERIES.array())
    several = QUERIES.with_captions([("a cat", "cat", "one cat"), None])
    out = tmp_path / "truth"
    targets = TuneConfig(AdapterConfig(2, lora_targets=("to_z",)))
    for error, match, queries, config, start in [
        (DataError, "2 of 2 images have none", bare, LORA, base),
        (ModelError, "called 'to_z'", IMAGES, targets, base),
        (SettingsError, "needs a base model", IMAGES, LORA, None),
        (SettingsError, "has 3 captions", several, LORA, base),
    ]:
        with pytest.raises(error, match=match):
            retrain(IMAGES, {"q": queries}, out, config=config, base=start, settings=SETTINGS)
    assert not out.exists()


def test_retrained_models_draw_captions_and_losses_average_over_them(base, tuned, tmp_path):
    several = IMAGES.with_captions([(text, "cat") for text in IMAGES.texts])
    queries = {"q": QUERIES.with_captions([(text, "cat") for text in QUERIES.texts])}
    settings = {"config": LORA, "base": base, "settings": SETTINGS, "limit_tasks": 1}
    losses = retrain(several, queries, tmp_path / "truth", **settings).losses
    is_finished = np.isfinite(losses)
    assert is_finished.sum() == 2
    assert not np.isclose(losses, tuned[1].losses, rtol=1e-6)[is_finished].any()


def test_queries_have_all_captions_if_the_training_images_have(tmp_path):
    several = captioned_images(2, 0).with_captions([("a cat", "cat"), None])
    folder = several.save(tmp_path / "queries")
    (_, images), *_ = load_query_sets({"q": folder}, several)
    assert images.captions == several.captions
    with pytest.raises(DataError, match="2 captions in column 'text'"):
        load_query_sets({"q": folder}, several.with_captions(None))


def test_queries_are_captioned_by_the_template_of_the_images(base, tmp_path):
    pixels = captioned_images(8, 3).array()
    for part, rows in {"train": range(6), "validation": range(6, 8)}.items():
        styles = {"style": [("cat", "house")[i % 2] for i in rows]}
        ImageSet.from_images(pixels[rows], columns=styles).save(tmp_path / part)
    sampling = GenerateConfig(steps=2)
    generate(base, 2, tmp_path / "generated", sampling, prompts=["two cats", "a cat"])
    images = load_images(tmp_path / "train", metadata=MetadataSpec(prompt_template="a {style}"))
    named = [(name, tmp_path / name) for name in ("validation", "generated")]
    sets = dict(load_query_sets(named, images))
    assert sets["validation"].texts == ("a cat", "a house")
    assert sets["generated"].texts == ("two cats", "a cat")

    losses = np.random.default_rng(0).normal(size=(8, 1, 4))
    masks = draw_masks(SETTINGS.subsets, images)
    truth = GroundTruth.from_arrays(masks, losses, images, tuple(sets.items()))
    index = api.index(base, images, out=tmp_path / "index", dim=8, timesteps=2)
    for name, folder in named:
        assert index.extract(folder).queries.images.fingerprint == sets[name].fingerprint
    config = LDSConfig(resamples=10, search=DampingSearch(dampings=(0.1,), splits=1))
    comparison = compare_methods(index, truth, named, config=config)
    assert len(comparison.groups) == 3  # each folder, and both together
