"""Pipelines of every supported class."""

from __future__ import annotations

from tests.tiny_pipelines import networks
from tests.tiny_pipelines.networks import vae
from tests.tiny_pipelines.size import TINY, Size
from tests.tiny_pipelines.text import clip, clip_tokenizer, gemma, gemma_tokenizer, t5, t5_tokenizer


def betas(kind, **more):
    """Stable Diffusion's noise schedule."""
    config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    return kind(**config, **more)


def readers(**encoders):
    """Text encoders by the suffix of their part, with the tokenizers that go with them."""
    parts = {}
    for suffix, encoder in encoders.items():
        is_t5 = type(encoder).__name__.startswith("T5")
        parts[f"text_encoder{suffix}"] = encoder
        parts[f"tokenizer{suffix}"] = t5_tokenizer() if is_t5 else clip_tokenizer()
    return parts


def stable_diffusion(size: Size = TINY, prediction: str = "epsilon"):
    from diffusers import DDIMScheduler, PNDMScheduler, StableDiffusionPipeline

    scheduler = (
        betas(PNDMScheduler, skip_prk_steps=True, steps_offset=1)
        if prediction == "epsilon"
        else betas(DDIMScheduler, clip_sample=False, steps_offset=1, prediction_type=prediction)
    )
    return StableDiffusionPipeline(
        **readers(**{"": clip(size.hidden)}),
        vae=vae(),
        unet=networks.unet(size),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl(size: Size = TINY):
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    added = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + size.hidden,
        "cross_attention_dim": 2 * size.hidden,
    }
    return StableDiffusionXLPipeline(
        **readers(**{"": clip(size.hidden), "_2": clip(size.hidden, projected=True)}),
        vae=vae(),
        unet=networks.unet(size, **added),
        scheduler=betas(EulerDiscreteScheduler),
    )


def dit(size: Size = TINY):
    from diffusers import DDIMScheduler, DiTPipeline

    return DiTPipeline(transformer=networks.dit(size), vae=vae(), scheduler=DDIMScheduler())


def pixart(size: Size = TINY, sigma: bool = False):
    from diffusers import DPMSolverMultistepScheduler, PixArtAlphaPipeline, PixArtSigmaPipeline

    return (PixArtSigmaPipeline if sigma else PixArtAlphaPipeline)(
        **readers(**{"": t5(size.hidden)}),
        vae=vae(),
        transformer=networks.pixart(size, additional=not sigma),
        scheduler=DPMSolverMultistepScheduler(),
    )


def sd3(size: Size = TINY):
    from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline

    clips = {suffix: clip(size.hidden, projected=True) for suffix in ("", "_2")}
    return StableDiffusion3Pipeline(
        **readers(**clips, _3=t5(2 * size.hidden)),
        vae=vae(shift_factor=0.1),
        transformer=networks.sd3(size),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def flux(size: Size = TINY, guidance: bool = True):
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline

    return FluxPipeline(
        **readers(**{"": clip(size.hidden), "_2": t5(2 * size.hidden)}),
        vae=vae(shift_factor=0.1),
        transformer=networks.flux(size, guidance),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )


def sana(size: Size = TINY):
    from diffusers import DPMSolverMultistepScheduler, SanaPipeline

    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
    return SanaPipeline(
        tokenizer=gemma_tokenizer(),
        text_encoder=gemma(size.hidden),
        vae=networks.deep_compression_vae(),
        transformer=networks.sana(size),
        scheduler=DPMSolverMultistepScheduler(**flow),
    )


def ldm(size: Size = TINY):
    from diffusers import DDIMScheduler, LDMPipeline

    network, scheduler = networks.plain_config(size, size.side).build(), betas(DDIMScheduler)
    scheduler.register_to_config(clip_sample=False)
    return LDMPipeline(vqvae=networks.vqvae(), unet=network, scheduler=scheduler)


def pixels(size: Size = TINY, implicit: bool = False):
    """A network on pixels, whose images are as large as those of the others."""
    from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler

    kind, scheduler = (DDIMPipeline, DDIMScheduler) if implicit else (DDPMPipeline, DDPMScheduler)
    return kind(unet=networks.plain_config(size, 2 * size.side).build(), scheduler=scheduler())
