"""Every family, whole and with an adapter: its loss is the one diffusers' training scripts have.

Its gradient, index, trace and doctor: `tests/tools/test_model_checks.py`.
"""

from __future__ import annotations

from inspect import signature

import cloudpickle
import pytest
import torch
from tests.tiny_pipelines import MAKERS, network_of

from creditline.gradients.objective import Objective

pytest.importorskip("peft")
EVERY = pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
FAMILY = pytest.mark.parametrize("name", MAKERS)


def near(a, b, tolerance):
    assert float(torch.linalg.norm(a - b)) <= tolerance * float(torch.linalg.norm(b))


@pytest.mark.slow
@FAMILY
def test_it_can_be_sent_to_another_process(load, captioned, name):
    model = load(name, lora=True)
    sent = cloudpickle.loads(cloudpickle.dumps(model))
    assert sent.fingerprint == model.fingerprint
    mine, other = (m.encode(captioned, [2]) for m in (model, sent))
    assert torch.equal(mine.x0, other.x0)
    assert all(torch.equal(value, other.condition[k]) for k, value in mine.condition.items())


# The loss by hand, as the training scripts of diffusers compute it.


def latents_by_hand(pipe, pixels):
    if not hasattr(pipe, "vae") and not hasattr(pipe, "vqvae"):
        return pixels
    if hasattr(pipe, "vqvae"):
        return pipe.vqvae.encode(pixels).latents * pipe.vqvae.config.scaling_factor
    config = pipe.vae.config
    if type(pipe.vae).__name__ == "AutoencoderDC":
        return pipe.vae.encode(pixels).latent * config.scaling_factor
    mode = pipe.vae.encode(pixels).latent_dist.mode()
    return (mode - (config.shift_factor or 0)) * config.scaling_factor


def discrete(pipe, x0, noise, t, call):
    """Loss of a network on a process of discrete timesteps."""
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
    output = call(scheduler.add_noise(x0, noise, t), t)
    velocity = scheduler.config.prediction_type == "v_prediction"
    target = scheduler.get_velocity(x0, noise, t) if velocity else noise
    return (output - target).square().flatten(1).mean(1)


def flow(pipe, x0, noise, t, call):
    """Loss of a network on a rectified flow; index 0 of the scheduler's tables is pure noise."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    config = dict(pipe.scheduler.config)
    config.setdefault("shift", config.get("flow_shift"))  # of a DPM solver
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(config)
    place = len(scheduler.sigmas) - 1 - t
    sigma = scheduler.sigmas[place].view(-1, 1, 1, 1)
    output = call((1 - sigma) * x0 + sigma * noise, scheduler.timesteps[place])
    return (output - (noise - x0)).square().flatten(1).mean(1)


def sd(pipe, texts, labels):
    hidden = pipe.encode_prompt(texts, "cpu", 1, False)[0]
    return discrete, lambda x, t: pipe.unet(x, t, hidden).sample


def sdxl(pipe, texts, labels):
    hidden, _, pooled, _ = pipe.encode_prompt(texts, do_classifier_free_guidance=False)
    ids = pipe._get_add_time_ids((16, 16), (0, 0), (16, 16), torch.float32, 16)
    added = {"text_embeds": pooled, "time_ids": ids.repeat(len(texts), 1)}
    return discrete, lambda x, t: pipe.unet(x, t, hidden, added_cond_kwargs=added).sample


def dit(pipe, texts, labels):
    classes = torch.tensor(labels)
    return discrete, lambda x, t: pipe.transformer(x, t, classes).sample.chunk(2, 1)[0]


def pixart(pipe, texts, labels):
    tokens = 120 if "Alpha" in type(pipe).__name__ else 300
    hidden, mask, _, _ = pipe.encode_prompt(texts, False, max_sequence_length=tokens)
    added = {"resolution": None, "aspect_ratio": None}
    if pipe.transformer.config.use_additional_conditions:
        added = {"resolution": torch.full((2, 2), 16.0), "aspect_ratio": torch.ones(2, 1)}

    def call(x, t):
        more = {"encoder_attention_mask": mask, "added_cond_kwargs": added, "timestep": t}
        return pipe.transformer(x, encoder_hidden_states=hidden, **more).sample.chunk(2, 1)[0]

    return discrete, call


def sd3(pipe, texts, labels):
    hidden, _, pooled, _ = pipe.encode_prompt(
        texts, texts, texts, do_classifier_free_guidance=False
    )
    return flow, lambda x, t: pipe.transformer(x, hidden, pooled, t).sample


def sana(pipe, texts, labels):
    hidden, mask, _, _ = pipe.encode_prompt(
        texts,
        do_classifier_free_guidance=False,
        max_sequence_length=12,
        complex_human_instruction=signature(pipe.__call__)
        .parameters["complex_human_instruction"]
        .default,
    )
    return flow, lambda x, t: pipe.transformer(x, hidden, t, encoder_attention_mask=mask).sample


def flux(pipe, texts, labels):
    hidden, pooled, text_ids = pipe.encode_prompt(texts, max_sequence_length=12)
    image_ids = pipe._prepare_latent_image_ids(2, 4, 4, "cpu", torch.float32)

    def call(x, t):
        packed = pipe._pack_latents(x, len(x), 4, 8, 8)
        guidance = torch.full((len(x),), 3.5)
        output = pipe.transformer(
            packed, hidden, pooled, t / 1000, image_ids, text_ids, guidance
        ).sample
        return pipe._unpack_latents(output, 16, 16, pipe.vae_scale_factor)

    return flow, call


def unconditional(pipe, texts, labels):
    return discrete, lambda x, t: pipe.unet(x, t).sample


BY_HAND = {"sd-v": sd, "pixart-alpha": pixart, "pixart-sigma": pixart}
BY_HAND |= {"sd": sd, "sdxl": sdxl, "dit": dit, "sd3": sd3, "flux": flux, "sana": sana}
BY_HAND |= dict.fromkeys(("ldm", "ddpm", "ddim"), unconditional)


@pytest.mark.slow
@EVERY
@FAMILY
@torch.no_grad()
def test_the_loss_is_that_of_diffusers_training_scripts(load, folder, captioned, name, lora):
    import diffusers

    model = load(name, lora)
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder(name)[0])
    part = "unet" if hasattr(pipe, "unet") else "transformer"
    setattr(pipe, part, (model.module if lora else network_of(pipe)).eval())
    process, call = BY_HAND[name](pipe, list(captioned.texts[:2]), list(captioned.labels[:2]))
    x0 = latents_by_hand(pipe, captioned.pixels([0, 1]))
    noise, t = torch.randn(x0.shape, generator=torch.manual_seed(0)), torch.tensor([3, 700])
    theirs = process(pipe, x0, noise, t, call)

    batch = model.encode(captioned, [0, 1])
    near(batch.x0, x0, 1e-5)
    output = model.predict(model.process.add_noise(x0, noise, t), t, batch.condition)
    torch.testing.assert_close(
        Objective("simple")(model.process, output, x0, noise, t), theirs, rtol=1e-4, atol=1e-6
    )
