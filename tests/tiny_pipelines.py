"""Pipelines of every supported class, with random weights and a few thousand parameters.

Their tokenizers are real ones of small vocabularies; every pipeline is saved as diffusers saves it
and loads in a moment.
"""

from __future__ import annotations

import string

import torch

WORDS = ("a", "red", "blue", "house", "cat", "of", "two", "boats", "painting")
LATENT = 4  # channels; a picture of 16 pixels has latents of 8


def clip_tokenizer(length: int = 16):
    """Byte-pair encoding whose merges know single letters only: one token per character."""
    from transformers import CLIPTokenizer

    letters = [*string.ascii_lowercase, *string.digits]
    marks = ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = [*letters, *(letter + "</w>" for letter in letters), *marks]
    return CLIPTokenizer(
        vocab={token: i for i, token in enumerate(vocabulary)}, merges=[], model_max_length=length
    )


def t5_tokenizer():
    """A unigram model of a few words and all letters."""
    from transformers import T5Tokenizer

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    words = [(f"▁{word}", -1.0) for word in WORDS]
    letters = [(letter, -5.0) for letter in string.ascii_lowercase]
    return T5Tokenizer(vocab=[*special, *words, *letters], extra_ids=0, model_max_length=64)


def clip(projected: bool = False, hidden: int = 16):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    size = len(clip_tokenizer().get_vocab())
    config = CLIPTextConfig(
        vocab_size=size,
        hidden_size=hidden,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        projection_dim=hidden,
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=size - 1,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def t5(hidden: int = 16):
    from transformers import T5Config, T5EncoderModel

    size = len(t5_tokenizer().get_vocab())
    return T5EncoderModel(
        T5Config(vocab_size=size, d_model=hidden, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    )


def vae(channels: int = LATENT, **more):
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=16,
        **{"scaling_factor": 0.5, **more},
    )


def unet(**more):
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        in_channels=LATENT,
        out_channels=LATENT,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=(2, 2),
        **{"cross_attention_dim": 16, **more},
    )


def betas(kind, **more):
    """Stable Diffusion's noise schedule."""
    config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    return kind(**config, **more)


def stable_diffusion(prediction: str = "epsilon"):
    from diffusers import DDIMScheduler, PNDMScheduler, StableDiffusionPipeline

    scheduler = (
        betas(PNDMScheduler, skip_prk_steps=True, steps_offset=1)
        if prediction == "epsilon"
        else betas(DDIMScheduler, clip_sample=False, prediction_type=prediction)
    )
    return StableDiffusionPipeline(
        vae=vae(),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        unet=unet(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl():
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    added = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 16,
        "cross_attention_dim": 32,
    }
    return StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=clip(),
        text_encoder_2=clip(projected=True),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=unet(**added),
        scheduler=betas(EulerDiscreteScheduler),
    )


def dit():
    from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    transformer = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=LATENT,
        out_channels=2 * LATENT,
        num_layers=2,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=3,
        norm_elementwise_affine=False,
    )
    return DiTPipeline(transformer=transformer, vae=vae(), scheduler=DDIMScheduler())


def pixart(sigma: bool = False):
    from diffusers import (
        DPMSolverMultistepScheduler,
        PixArtAlphaPipeline,
        PixArtSigmaPipeline,
        PixArtTransformer2DModel,
    )

    transformer = PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=LATENT,
        out_channels=2 * LATENT,
        num_layers=2,
        cross_attention_dim=24,
        sample_size=8,
        patch_size=2,
        caption_channels=16,
        use_additional_conditions=not sigma,
    )
    return (PixArtSigmaPipeline if sigma else PixArtAlphaPipeline)(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(),
        vae=vae(),
        transformer=transformer,
        scheduler=DPMSolverMultistepScheduler(),
    )


def sd3():
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        SD3Transformer2DModel,
        StableDiffusion3Pipeline,
    )

    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=LATENT,
        out_channels=LATENT,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        pos_embed_max_size=8,
        qk_norm="rms_norm",
        dual_attention_layers=(0,),
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(shift_factor=0.1),
        text_encoder=clip(projected=True),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip(projected=True),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5(32),
        tokenizer_3=t5_tokenizer(),
    )


def flux(guidance: bool = True):
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        in_channels=4 * LATENT,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        guidance_embeds=guidance,
        axes_dims_rope=(2, 2, 4),
    )
    return FluxPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae(shift_factor=0.1),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5(32),
        tokenizer_2=t5_tokenizer(),
    )


def ldm():
    from diffusers import DDIMScheduler, LDMPipeline, UNet2DModel, VQModel

    network = UNet2DModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=8,
    )
    vqvae = VQModel(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=3,
        norm_num_groups=4,
        num_vq_embeddings=16,
    )
    return LDMPipeline(vqvae=vqvae, unet=network, scheduler=betas(DDIMScheduler, clip_sample=False))


MAKERS = {
    "sd": stable_diffusion,
    "sd-v": lambda: stable_diffusion("v_prediction"),
    "sdxl": sdxl,
    "dit": dit,
    "pixart-alpha": pixart,
    "pixart-sigma": lambda: pixart(sigma=True),
    "sd3": sd3,
    "flux": flux,
    "ldm": ldm,
}

ENCODING = {"flux": {"side": 16, "prompt_tokens": 12}}
"""What has to be said of a pipeline's pictures: FLUX has no size, and T5 is given few tokens."""

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


def make(name: str):
    """A pipeline with seeded random weights, none of them zero as fresh output layers are."""
    torch.manual_seed(0)
    pipeline = MAKERS[name]()
    network = network_of(pipeline)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return pipeline


def network_of(pipeline):
    return getattr(pipeline, "unet", None) or pipeline.transformer


def peft_folder(pipeline, folder, rank: int = 2, seed: int = 1, targets=ATTENTION):
    """A LoRA adapter of the pipeline's network, saved as PEFT does; the network is left alone."""
    import copy

    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(r=rank, lora_alpha=4, target_modules=list(targets), init_lora_weights=False)
    get_peft_model(copy.deepcopy(network_of(pipeline)), config).save_pretrained(folder)
    return folder
