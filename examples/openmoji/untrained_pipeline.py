"""A small untrained Stable Diffusion, of the same classes as large ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

PIECES = 1200
LENGTH = 32
WIDTH = 64
CHANNELS = (32, 64)
START, END = 0, 1


def autoencoder(size: int) -> AutoencoderKL:
    """Make an autoencoder with 4 channels at a fourth of an image's side."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=size,
    )


def pipeline(vae: AutoencoderKL, texts: Sequence[str], seed: int = 0) -> StableDiffusionPipeline:
    """Combine the trained autoencoder with a denoiser and a text encoder of random weights.

    The text encoder stays untrained: random features distinguish prompts, and the denoiser learns
    their meaning.

    Args:
        vae: the autoencoder.
        texts: captions that the tokenizer is trained on.
        seed: seed of the weights.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        words = tokenizer(texts)
        encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(words),
                hidden_size=WIDTH,
                intermediate_size=2 * WIDTH,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=LENGTH,
                bos_token_id=START,
                eos_token_id=END,
                pad_token_id=END,
            )
        )
        unet = UNet2DConditionModel(
            sample_size=vae.config.sample_size // 4,
            in_channels=4,
            out_channels=4,
            block_out_channels=CHANNELS,
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D",) * 2,
            up_block_types=("CrossAttnUpBlock2D",) * 2,
            norm_num_groups=8,
            attention_head_dim=4,  # as diffusers has it: the number of heads
            cross_attention_dim=WIDTH,
        )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=encoder.eval(),
        tokenizer=words,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def tokenizer(texts: Sequence[str]) -> CLIPTokenizer:
    """Train CLIP's byte-pair encoding on texts."""
    marks = {"<|startoftext|>": START, "<|endoftext|>": END}
    empty = CLIPTokenizer(vocab=marks, merges=[], model_max_length=LENGTH)
    return empty.train_new_from_iterator(texts, PIECES)
