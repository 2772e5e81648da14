"""A denoiser shows images to its network, knows its own weights and refuses what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from tests.device import DEVICE

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.families.pixel import UNetDenoiser
from creditline.diffusion.process import DiscreteProcess
from creditline.errors import ModelError

SMALL = {
    "sample_size": 8,
    "block_out_channels": (4, 8),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
    "norm_num_groups": 4,
}


def denoiser(scheduler=None, **config):
    torch.manual_seed(0)
    process = DiscreteProcess.from_scheduler(scheduler or DDPMScheduler())
    return UNetDenoiser(UNet2DModel(**{**SMALL, **config}), process)


def generated_images(labels=None, size=8, n=4):
    pixels = np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    return ImageSet.from_images(pixels, labels=labels)


def test_it_is_a_denoiser_of_a_few_thousand_parameters(tiny_model):
    assert isinstance(tiny_model, Denoiser)
    assert tiny_model.sample_shape == (3, 8, 8)
    assert 5_000 < sum(p.numel() for p in tiny_model.module.parameters()) < 20_000


def test_encode_gives_pixels_and_ids_in_the_order_asked(tiny_model, tiny_images):
    batch = tiny_model.encode(tiny_images, [5, 2])
    assert torch.equal(batch.x0, tiny_images.pixels([5, 2]))
    assert batch.ids == (tiny_images.ids[5], tiny_images.ids[2])
    assert batch.condition == {}


def test_predict_is_the_network_and_can_be_differentiated(tiny_model, tiny_images):
    x0, t = tiny_model.encode(tiny_images, [0, 1]).x0.to(DEVICE), torch.tensor([3, 700]).to(DEVICE)
    output = tiny_model.predict(x0, t, {})
    assert torch.equal(output, tiny_model.module(x0, t).sample)
    output.sum().backward()
    assert tiny_model.module.conv_in.weight.grad.abs().sum() > 0


def test_a_prediction_does_not_depend_on_its_batch(tiny_model, tiny_images):
    t = torch.tensor([3, 700, 10]).to(DEVICE)
    x0 = tiny_model.encode(tiny_images, [0, 1, 2]).x0.to(DEVICE)
    together = tiny_model.predict(x0, t, {})
    alone = tiny_model.predict(x0[1:2], t[1:2], {})
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


def test_classes_reach_the_network():
    model = denoiser(num_class_embeds=3)
    assert model.n_classes == 3
    batch = model.encode(generated_images([0, 2, 1, 0]), [1, 2])
    assert batch.condition["class_labels"].tolist() == [2, 1]
    t = torch.tensor([500, 500])
    same = batch.x0[:1].expand(2, -1, -1, -1)
    output = model.predict(same, t, batch.condition)
    assert not torch.allclose(output[0], output[1])


@pytest.mark.parametrize("labels", [None, [0, 1, None, 2], [0, 1, 2, 3], [0, -1, 1, 1]])
def test_missing_and_unknown_classes_are_refused_before_any_work(labels):
    model = denoiser(num_class_embeds=3)
    x0 = torch.zeros(4, 3, 8, 8)
    with pytest.raises(ModelError, match="conditional on 3 classes"):
        model.batch(x0, list("abcd"), labels)
    if labels is None or min(x for x in labels if x is not None) >= 0:
        with pytest.raises(ModelError, match="conditional on 3 classes"):
            model.check(generated_images(labels))


def test_classes_do_not_matter_to_an_unconditional_model(tiny_model):
    tiny_model.check(generated_images([7, 8, 9, 9]))
    assert tiny_model.encode(generated_images([7, 8, 9, 9]), [0]).condition == {}


def test_images_of_another_size_are_refused_with_the_size_to_ask_for(tiny_model):
    with pytest.raises(ModelError, match=r"3 channels of 8x8.*\(3, 6, 6\).*size=8"):
        tiny_model.check(generated_images(size=6))


def test_a_gray_model_refuses_color():
    with pytest.raises(ModelError, match="takes 1 channels"):
        denoiser(in_channels=1, out_channels=1).check(generated_images())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"out_channels": 6}, "takes 3 and returns 6"),
        ({"sample_size": None}, "sample_size"),
        ({"class_embed_type": "timestep"}, "'timestep'"),
    ],
)
def test_networks_that_do_not_fit_the_protocol_are_refused(config, message):
    with pytest.raises(ModelError, match=message):
        denoiser(**config)


def test_images_need_not_be_square():
    assert denoiser(sample_size=(8, 16)).sample_shape == (3, 8, 16)


def test_the_fingerprint_follows_weights_config_and_process():
    first = denoiser().fingerprint
    assert denoiser().fingerprint == first
    assert denoiser(DDPMScheduler(beta_end=0.03)).fingerprint != first
    assert denoiser(DDPMScheduler(prediction_type="sample")).fingerprint != first
    assert denoiser(norm_eps=1e-6).fingerprint != first
    changed = denoiser()
    assert changed.fingerprint == first
    with torch.no_grad():
        changed.module.conv_out.bias[0] += 1e-3
    assert changed.fingerprint != first


def test_the_fingerprint_outlives_saving(tmp_path):
    model = denoiser()
    model.module.save_pretrained(tmp_path)
    again = UNetDenoiser(UNet2DModel.from_pretrained(tmp_path), model.process)
    assert again.fingerprint == model.fingerprint


def test_moving_changes_device_and_type(tiny_model):
    before = tiny_model.fingerprint
    assert tiny_model.to("cpu", torch.float64).dtype == torch.float64
    assert tiny_model.fingerprint == before  # wider numbers, same values
    assert tiny_model.to("cpu", torch.bfloat16).dtype == torch.bfloat16
    assert tiny_model.fingerprint != before
    assert tiny_model.device == torch.device("cpu")


def test_the_network_is_in_eval_mode():
    model = denoiser(dropout=0.5)
    x, t = torch.zeros(1, 3, 8, 8), torch.tensor([1])
    assert torch.equal(model.predict(x, t, {}), model.predict(x, t, {}))
