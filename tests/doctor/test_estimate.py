"""Estimates from shapes are the costs of real tensors."""

from __future__ import annotations

import json

import pytest
import torch
from tests.tiny_pipelines import make, peft_folder
from torch.utils.flop_counter import FlopCounterMode

import creditline as cl
from creditline.doctor.estimate import OperationCounter, estimate
from creditline.errors import SettingsError
from creditline.features.gradients import GradientExtractor
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.noised_batch import expand
from creditline.gradients.pass_size import measure_pass
from creditline.gradients.projection import Projection
from creditline.gradients.spec import FeatureSpec

SETTINGS = {"method": "d-trak", "timesteps": 4, "dim": 64}
RATE = {"flops_per_second": 1e9}


@pytest.mark.slow
@pytest.mark.parametrize(
    "rank", [pytest.param(None, marks=pytest.mark.long), 2], ids=["full", "adapter"]
)
def test_operations_and_memory_are_those_of_real_weights(tmp_path, random_image, rank):
    pipeline = make("sd")
    pipeline.save_pretrained(tmp_path / "sd")
    lora = None if rank is None else peft_folder(pipeline, tmp_path / "lora", rank)
    model = cl.load_model(pipeline, lora=lora)
    plan = NoisePlan(timesteps=4)
    spec = FeatureSpec(plan=plan, projection=Projection(dim=64))
    source = GradientExtractor([model], spec)
    probe = expand(model, model.encode(random_image(model), [0]), plan, "train")[0]
    engine = source.engines[0]
    source.size_passes(engine, probe)
    expected = estimate(
        tmp_path / "sd",
        lora_rank=rank,
        prompt_tokens=probe.condition["encoder_hidden_states"].shape[1],
        **SETTINGS,
        **RATE,
    )
    assert expected.pass_bytes == measure_pass(engine, probe)
    with OperationCounter() as counter:
        engine.mean_gradients([(probe, torch.arange(4))])
    assert expected.gradient.products * 4 == counter.products
    assert expected.gradient.convolutions * 4 == counter.convolutions
    with FlopCounterMode(display=False) as plain, torch.no_grad():
        model.predict(probe.x0, probe.t, probe.condition)
    assert expected.forward.operations * 4 == plain.get_total_flops()
    assert expected.selected == source.parameters
    weights = sum(p.nbytes for p in model.module.parameters())
    assert expected.weight_bytes == weights


@pytest.mark.long
def test_a_faster_device_takes_less_time(tmp_path):
    make("sd").save_pretrained(tmp_path)
    slow, fast = (estimate(tmp_path, flops_per_second=x, **SETTINGS) for x in (1e9, 1e12))
    assert slow.seconds == pytest.approx(1000 * fast.seconds)
    bound = estimate(tmp_path, flops_per_second=1e12, bytes_per_second=1e6, **SETTINGS)
    assert bound.seconds > 10 * fast.seconds
    here = estimate(tmp_path, **SETTINGS)
    assert here.measured
    assert 1e8 < here.rate.product < 1e13


def test_what_shapes_do_not_tell_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    with pytest.raises(SettingsError, match="above 0"):
        estimate(tmp_path, flops_per_second=0.0)
    with pytest.raises(SettingsError, match="takes no gradients"):
        estimate(tmp_path, method="pixel-dot")
    with pytest.raises(SettingsError, match="fitted to images"):
        estimate(tmp_path, projection="principal")
