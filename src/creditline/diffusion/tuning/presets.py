"""Named settings of tuning."""

from __future__ import annotations

from creditline.diffusion.tuning.config import AdapterConfig, TuneConfig

TUNING_PRESETS: dict[str, TuneConfig] = {
    "tune": TuneConfig(),
    # The paper's for ArtBench (Zheng et al., ICLR 2024), on a Stable Diffusion 1.x network:
    # 25,509,888 parameters. The authors computed in half precision (--precision fp16) and drew
    # latents from the VAE's posterior (--vae sample draws once for each image).
    "artbench": TuneConfig(
        AdapterConfig(lora_rank=128),
        epochs=100,
        batch_size=64,
        learning_rate=3e-4,
        caption_dropout=0.1,
        attention_dropout=0.1,
        flip=True,
    ),
}
