"""Named training settings: small ones for a CPU, and the D-TRAK paper's.

The paper's: AdamW at 1e-4 with betas (0.95, 0.999) and weight decay 1e-6,
cosine schedule with 10 % warm-up, gradient norm 1, random flips, dropout 0.1, batches of 128, no
averaged weights; 200 epochs of 5,000 images are 8,000 steps.
"""

from __future__ import annotations

from creditline.diffusion.config import TrainConfig, UNetConfig
from creditline.errors import unknown


def _paper(unet: UNetConfig) -> TrainConfig:
    return TrainConfig(
        unet=unet,
        learning_rate=1e-4,
        batch_size=128,
        steps=8000,
        flip=True,
        checkpoint_every=2000,
        sample_every=1000,
    )


PRESETS: dict[str, TrainConfig] = {
    "icons-16": TrainConfig(
        unet=UNetConfig(16, (24, 48, 96), (2,)),
        steps=1000,
        batch_size=64,
        learning_rate=2e-3,
        warmup=0.05,
        ema=0.99,
        checkpoint_every=250,
    ),
    "small-16": TrainConfig(
        unet=UNetConfig(16, (32, 64, 128), (2,)),
        steps=10_000,
        learning_rate=1e-3,
        ema=0.999,
        checkpoint_every=2000,
        sample_every=1000,
    ),
    "small-32": TrainConfig(
        unet=UNetConfig(32, (24, 48, 96), (2,)),
        steps=1200,
        batch_size=64,
        learning_rate=1e-3,
        warmup=0.05,
        flip=True,
        ema=0.995,
        checkpoint_every=300,
        sample_every=300,
    ),
    # 38,307,203 parameters
    "cifar": _paper(UNetConfig(32, (128, 256, 256, 256), (1,), 2, 32, 8, 0.1, True)),
    # 118,795,011 parameters
    "celeba": _paper(UNetConfig(64, (128, 128, 256, 256, 512, 512), (4,), 2, 32, 8, 0.1, True)),
}


def preset(name: str) -> TrainConfig:
    """The settings registered as `name`.

    Raises:
        SettingsError: if there are none; the message suggests the nearest.
    """
    if name not in PRESETS:
        raise unknown("training preset", name, PRESETS)
    return PRESETS[name]
