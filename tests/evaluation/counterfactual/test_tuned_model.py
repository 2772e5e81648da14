"""Counterfactual evaluation of a tuned model, with its base and prompts."""

from __future__ import annotations

import numpy as np
import pytest
from tests.tiny_pipelines import make

from creditline.data.image_set import ImageSet
from creditline.diffusion.config import GenerateConfig
from creditline.diffusion.generation import generate
from creditline.diffusion.load import load_model
from creditline.diffusion.train import train
from creditline.diffusion.tuning.config import AdapterConfig, TuneConfig
from creditline.evaluation.counterfactual.experiment import CounterfactualConfig, run_counterfactual
from creditline.evaluation.counterfactual.sampling_plan import SamplingPlan, read_targets
from creditline.evaluation.counterfactual.training_config import read_training_config
from creditline.runtime import Runtime

pytest.importorskip("peft")
pytestmark = pytest.mark.slow


def test_nothing_removed_changes_nothing_and_something_does(tmp_path):
    make("sd").save_pretrained(tmp_path / "base")
    pixels = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    images = ImageSet.from_images(pixels, texts=["a cat", "a house"] * 3)
    config = TuneConfig(AdapterConfig(2), steps=4, batch_size=4, learning_rate=5e-2, seed=3)
    base = load_model(tmp_path / "base", encoding={"caption": "a boat"})
    run = train(images, tmp_path / "run", config, base=base, runtime=Runtime(threads=1))
    sampling = GenerateConfig(steps=3, guidance=2.0, negative_prompt="two cats")
    generate(run, 2, tmp_path / "generated", sampling, prompts=["a cat", "a house"])

    read_config, start = read_training_config(run, images)
    assert read_config == config
    assert start.fingerprint == base.fingerprint
    result = run_counterfactual(
        images,
        tmp_path / "generated",
        {"d-trak": np.random.default_rng(1).normal(size=(2, 6))},
        tmp_path / "out",
        config=read_config,
        model=load_model(run).fingerprint,
        base=start,
        settings=CounterfactualConfig(removals=(2,)),
    )
    changes = {summary.rule: summary.metrics["l2"].median for summary in result.summaries()}
    assert changes["nothing"] == 0
    assert changes["d-trak"] > 0


def test_prompts_and_guidance_are_read_and_recorded(tmp_path):
    make("sd").save_pretrained(tmp_path / "base")
    sampling = GenerateConfig(steps=2, guidance=2.0, negative_prompt="two cats")
    generate(tmp_path / "base", 2, tmp_path / "generated", sampling, prompts=["a cat", "a house"])
    images = ImageSet.from_images(np.zeros((2, 16, 16, 3), np.uint8))
    _, plan = read_targets(tmp_path / "generated", images)
    assert plan == SamplingPlan((0, 1), None, 2, 0.0, ("a cat", "a house"), 2.0, "two cats")
    assert plan.request()["negative_prompt"] == "two cats"
    further = plan.extend(3)
    assert further.seeds == (2, 3, 4)
    assert further.prompts == ("a cat", "a house", "a cat")


def test_unused_conditioning_is_not_in_the_request():
    assert set(SamplingPlan((0,), None, 2, 0.0).request()) == {"seeds", "labels", "steps", "eta"}
