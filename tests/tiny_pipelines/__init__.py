"""Tiny pipelines of every supported class with random weights, for fast tests."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tests.tiny_pipelines import pipelines
from tests.tiny_pipelines.networks import CLASSES, plain_config, vae
from tests.tiny_pipelines.size import MODERATE, TINY, Size

from creditline.data.image_set import ImageSet

__all__ = ["ENCODING", "LATENT", "MAKERS", "MODERATE", "TINY", "TITLES", "Size"]
__all__ += ["make", "network_of", "peft_folder", "plain_config", "random_images", "vae"]

LATENT = {
    "sd": pipelines.stable_diffusion,
    "sd-v": partial(pipelines.stable_diffusion, prediction="v_prediction"),
    "sdxl": pipelines.sdxl,
    "dit": pipelines.dit,
    "pixart-alpha": pipelines.pixart,
    "pixart-sigma": partial(pipelines.pixart, sigma=True),
    "sd3": pipelines.sd3,
    "flux": pipelines.flux,
    "sana": pipelines.sana,
    "ldm": pipelines.ldm,
}
PIXEL = {
    "ddpm": pipelines.pixels,
    "ddim": partial(pipelines.pixels, implicit=True),
}
MAKERS = {**LATENT, **PIXEL}

TITLES = {
    "sd": "StableDiffusionPipeline, ε",
    "sd-v": "StableDiffusionPipeline, v",
    "sdxl": "StableDiffusionXLPipeline",
    "dit": "DiTPipeline",
    "pixart-alpha": "PixArtAlphaPipeline",
    "pixart-sigma": "PixArtSigmaPipeline",
    "sd3": "StableDiffusion3Pipeline",
    "flux": "FluxPipeline",
    "sana": "SanaPipeline",
    "ldm": "LDMPipeline",
    "ddpm": "DDPMPipeline",
    "ddim": "DDIMPipeline",
}
"""Names of the pipelines in tables."""

ENCODING = {"flux": {"side": 16, "prompt_tokens": 12}, "sana": {"prompt_tokens": 12}}
"""Encoding settings of a pipeline: FLUX has no image size; T5 and Gemma get few tokens."""

TEXTS = ("a red cat", "two boats", "a house", "cat", "a cat", "a house")

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


def make(name: str, size: Size = TINY):
    """Create a pipeline with seeded random weights; output layers are not zero."""
    torch.manual_seed(0)
    pipeline = MAKERS[name](size)
    with torch.no_grad():
        for parameter in network_of(pipeline).parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return pipeline


def network_of(pipeline):
    return getattr(pipeline, "unet", None) or pipeline.transformer


def peft_folder(pipeline, folder: Path, rank: int = 2, seed: int = 1, targets=ATTENTION) -> Path:
    """A LoRA adapter of the pipeline's network, saved as PEFT does; the network is left alone."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(r=rank, lora_alpha=4, target_modules=list(targets), init_lora_weights=False)
    get_peft_model(copy.deepcopy(network_of(pipeline)), config).save_pretrained(folder)
    return folder


def random_images(n: int = len(TEXTS), side: int = 2 * TINY.side) -> ImageSet:
    """Random images with captions, classes and two contributors."""
    return ImageSet.from_images(
        np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8),
        texts=[TEXTS[i % len(TEXTS)] for i in range(n)],
        labels=[i % CLASSES for i in range(n)],
        contributors=[f"artist {i % 2}" for i in range(n)],
    )
