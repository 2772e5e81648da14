"""Networks of every family with random weights, and their autoencoders."""

from __future__ import annotations

from tests.tiny_pipelines.size import Size

from creditline.diffusion.config import UNetConfig

LATENT = 4  # channels
CLASSES = 3


def vae(channels: int = LATENT, **more):
    from diffusers import AutoencoderKL

    config = {"latent_channels": channels, "sample_size": 16, "scaling_factor": 0.5}
    return AutoencoderKL(**_coder(), **{**config, **more})


def vqvae():
    from diffusers import VQModel

    return VQModel(**_coder(), latent_channels=3, num_vq_embeddings=16)


def _coder():
    """An autoencoder that halves the image once."""
    return {
        "block_out_channels": (8, 8),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "norm_num_groups": 4,
    }


def unet(size: Size, **more):
    from diffusers import UNet2DConditionModel

    attending = _attending(size.blocks["block_out_channels"])
    down, up = (
        [f"CrossAttn{way}Block2D" if attends else f"{way}Block2D" for attends in attending]
        for way in ("Down", "Up")
    )
    blocks = {**size.blocks, "down_block_types": down, "up_block_types": up[::-1]}
    channels = {"in_channels": LATENT, "out_channels": LATENT, "sample_size": size.side}
    config = {"cross_attention_dim": size.hidden, "attention_head_dim": size.heads}
    return UNet2DConditionModel(**blocks, **channels, **{**config, **more})


def plain_config(size: Size, side: int) -> UNetConfig:
    """Of a network of three channels without a condition, as `creditline train` makes them."""
    channels = size.blocks["block_out_channels"]
    levels = tuple(i for i, attends in enumerate(_attending(channels)) if attends)
    layers, groups = size.blocks["layers_per_block"], size.blocks["norm_num_groups"]
    return UNetConfig(side, channels, levels, layers, groups, size.head)


def _attending(channels) -> list[bool]:
    """All levels attend but the first and, where there are more than two, the last."""
    n = len(channels)
    return [i > 0 and (n == 2 or i < n - 1) for i in range(n)]


def dit(size: Size):
    from diffusers import DiTTransformer2DModel

    return DiTTransformer2DModel(
        **_patches(size, LATENT, 2 * LATENT),
        num_embeds_ada_norm=CLASSES,
        norm_elementwise_affine=False,
    )


def pixart(size: Size, additional: bool):
    from diffusers import PixArtTransformer2DModel

    head = 12 * max(1, size.head // 12)  # its size embeddings are thirds of the width
    return PixArtTransformer2DModel(
        **{**_patches(size, LATENT, 2 * LATENT), "attention_head_dim": head},
        cross_attention_dim=size.heads * head,
        caption_channels=size.hidden,
        use_additional_conditions=additional,
    )


def sd3(size: Size):
    from diffusers import SD3Transformer2DModel

    return SD3Transformer2DModel(
        **_patches(size, LATENT, LATENT),
        joint_attention_dim=2 * size.hidden,
        caption_projection_dim=size.width,
        pooled_projection_dim=2 * size.hidden,
        pos_embed_max_size=size.side,
        qk_norm="rms_norm",
        dual_attention_layers=(0,),
    )


def flux(size: Size, guidance: bool = True):
    from diffusers import FluxTransformer2DModel

    return FluxTransformer2DModel(
        in_channels=4 * LATENT,
        num_layers=size.layers // 2,
        num_single_layers=size.layers - size.layers // 2,
        attention_head_dim=size.head,
        num_attention_heads=size.heads,
        joint_attention_dim=2 * size.hidden,
        pooled_projection_dim=size.hidden,
        guidance_embeds=guidance,
        axes_dims_rope=(size.head // 4, size.head // 4, size.head // 2),
    )


def sana(size: Size):
    from diffusers import SanaTransformer2DModel

    return SanaTransformer2DModel(
        **{**_patches(size, LATENT, LATENT), "patch_size": 1},
        num_cross_attention_heads=size.heads,
        cross_attention_head_dim=size.head,
        cross_attention_dim=size.width,
        caption_channels=size.hidden,
    )


def deep_compression_vae():
    from diffusers import AutoencoderDC

    both = {
        "block_types": ("ResBlock", "EfficientViTBlock"),
        "block_out_channels": (8, 8),
        "layers_per_block": (1, 1),
        "qkv_multiscales": ((), (5,)),
    }
    coders = {
        f"{way}_{key}": value for way in ("encoder", "decoder") for key, value in both.items()
    }
    return AutoencoderDC(
        latent_channels=LATENT,
        attention_head_dim=2,
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
        **coders,
    )


def _patches(size: Size, in_channels: int, out_channels: int):
    """A transformer on patches of two by two."""
    return {
        "num_attention_heads": size.heads,
        "attention_head_dim": size.head,
        "num_layers": size.layers,
        "in_channels": in_channels,
        "out_channels": out_channels,
        "sample_size": size.side,
        "patch_size": 2,
    }
