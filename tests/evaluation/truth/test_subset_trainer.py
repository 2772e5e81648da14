"""A fleet of tunings: the losses are those of single ones, and nothing is encoded twice."""

from __future__ import annotations

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
from creditline.evaluation.truth.losses import LossPlan, measure_losses
from creditline.evaluation.truth.query_sets import load_query_sets
from creditline.evaluation.truth.retraining import RetrainingConfig, retrain
from creditline.evaluation.truth.subsets import SubsetSpec
from creditline.runtime import Runtime

pytest.importorskip("peft")

FLEET = RetrainingConfig(SubsetSpec(subsets=8), LossPlan(loss_timesteps=2, loss_draws=1), seeds=1)
LORA = TuneConfig(AdapterConfig(lora_rank=2), epochs=2, batch_size=2, learning_rate=1e-2, seed=5)
FULL = TuneConfig(steps=2, batch_size=2, learning_rate=1e-2)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "sd"
    make("sd").save_pretrained(folder)
    return folder


def pictures(n, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)
    return ImageSet.from_images(pixels, texts=[("a cat", "a house")[i % 2] for i in range(n)])


@pytest.mark.parametrize("config", [LORA, FULL], ids=["lora", "full"])
def test_losses_are_those_of_single_tunings(base, tmp_path, config):
    images, queries = pictures(6, 0), pictures(2, 1)
    truth = retrain(
        images, {"q": queries}, tmp_path / "truth", config=config, base=base, settings=FLEET
    )
    rows = np.flatnonzero(truth.masks[3])
    single = train(
        images.subset(rows), tmp_path / "single", config, base=base, runtime=Runtime(threads=1)
    )
    assert len((single / "log.jsonl").read_text("utf-8").splitlines()) == (4, 2)[config == FULL]
    expected = measure_losses(load_model(single), queries, FLEET.losses)
    np.testing.assert_array_equal(truth.losses[3, 0], expected)
    assert len(np.unique(truth.losses[:, 0, 0])) == len(np.unique(truth.masks, axis=0)) > 5
    assert {p.name for p in (tmp_path / "truth").iterdir()} == {
        *("manifest.json", "masks.npy", "losses.npy", "images.csv", "queries.csv")
    }


def test_in_two_goes_by_two_processes(base, tmp_path):
    images, queries = pictures(6, 0), pictures(2, 1)
    given = {"config": LORA, "base": base, "settings": FLEET}
    whole = retrain(images, {"q": queries}, tmp_path / "a", **given)
    retrain(images, {"q": queries}, tmp_path / "b", **given, limit_tasks=2)
    parts = retrain(images, {"q": queries}, tmp_path / "b", **given, runtime=Runtime(workers=2))
    np.testing.assert_array_equal(whole.losses, parts.losses)


def test_every_picture_and_query_is_encoded_once(base, tmp_path, monkeypatch):
    seen = []
    original = Codec.encode

    def encode(self, pixels, key, device):
        seen.append(key)
        return original(self, pixels, key, device)

    monkeypatch.setattr(Codec, "encode", encode)
    images, queries = pictures(6, 0), pictures(2, 1)
    retrain(images, {"q": queries}, tmp_path / "truth", config=LORA, base=base, settings=FLEET)
    assert sorted(seen) == sorted([*images.ids, *queries.ids])


def test_a_kept_model_is_one_that_loads(base, tmp_path):
    images = pictures(6, 0)
    settings = RetrainingConfig(FLEET.subsets, FLEET.losses, seeds=1, keep_models=True)
    truth = retrain(
        images, {"q": images.subset([0])}, tmp_path / "t", config=LORA, base=base, settings=settings
    )
    kept = load_model(tmp_path / "t" / "models" / "00002-0")
    again = measure_losses(kept, images.subset([0]), settings.losses)
    np.testing.assert_array_equal(again, truth.losses[2, 0])


def test_what_does_not_fit_is_refused_first(base, tmp_path):
    images, bare = pictures(6, 0), ImageSet.from_images(pictures(2, 1).array())
    out = tmp_path / "truth"
    targets = TuneConfig(AdapterConfig(2, lora_targets=("to_z",)))
    for error, match, queries, config, start in [
        (DataError, "2 of 2 images have none", bare, LORA, base),
        (ModelError, "called 'to_z'", images, targets, base),
        (SettingsError, "needs a base model", images, LORA, None),
    ]:
        with pytest.raises(error, match=match):
            retrain(images, {"q": queries}, out, config=config, base=start, settings=FLEET)
    assert not out.exists()


def test_queries_are_captioned_by_the_template_of_the_images(base, tmp_path):
    pixels = pictures(8, 3).array()
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

    truth = retrain(images, named, tmp_path / "truth", config=LORA, base=base, settings=FLEET)
    index = api.index(base, images, out=tmp_path / "index", dim=8, timesteps=2)
    for name, folder in named:
        assert index.extract(folder).queries.images.fingerprint == sets[name].fingerprint
    assert len(compare_methods(index, truth, named).groups) == 3  # each folder, and both together
