"""Presets of training settings: small ones for a CPU, and the D-TRAK paper's.

The paper's settings (Zheng et al., ICLR 2024): AdamW at 1e-4 with betas (0.95, 0.999) and weight
decay 1e-6, cosine schedule with 10 % warm-up, gradient norm 1, random flips, dropout 0.1, batches
of 128, no averaged weights; 200 epochs of 5,000 images are 8,000 steps.

The small settings train on about 100,000 images, a hundredth of the usual number. They differ from
the paper's as follows. The effects of v-prediction and of the learning rate were measured on icons,
by the error of the predicted image at fixed noise levels; the others were not.

- v-prediction. At high noise, a network that predicts noise must copy its input, and its error is
  divided by a small signal. After 22,000 icons its estimate of the image was worse than the mean
  icon.
- A cosine noise schedule: with the linear schedule, most noise levels destroy small images.
- Many small steps at a high learning rate, on a narrow network. In the same time, 5,200 steps of 16
  icons gave sharper images than 3,200 steps of 32; 5e-3 was better than 2e-3 at all noise levels.
- Averaged weights.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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


def _small(unet: UNetConfig, steps: int, **changes: Any) -> TrainConfig:
    settings = TrainConfig(
        unet=unet,
        beta_schedule="squaredcos_cap_v2",
        prediction="v_prediction",
        steps=steps,
        batch_size=32,
        learning_rate=5e-3,
        warmup=0.05,
        stratified=True,
        ema=0.998,
    )
    return replace(settings, **changes)


def _narrow(resolution: int) -> UNetConfig:
    return UNetConfig(resolution, (16, 32, 64), (2,), zero_init=True)


PRESETS: dict[str, TrainConfig] = {
    # 687,347 parameters; about 7 minutes on one core
    "icons-16": _small(
        _narrow(16),
        5200,
        batch_size=16,
        learning_rate=4e-3,
        ema=0.999,
        checkpoint_every=1300,
    ),
    # 1,541,547 parameters; about an hour on one core
    "emoji-24": _small(
        UNetConfig(24, (24, 48, 96), (2,), zero_init=True),
        10_000,
        batch_size=16,
        learning_rate=2e-3,
        ema=0.9995,
    ),
    # 2,736,099 parameters; about an hour
    "small-16": _small(
        UNetConfig(16, (32, 64, 128), (2,), zero_init=True),
        10_000,
        batch_size=64,
        learning_rate=2e-3,
        ema=0.999,
        checkpoint_every=2000,
        sample_every=1000,
    ),
    # 675,227 parameters; about 20 minutes on one core; narrow, because images have more pixels
    "small-32": _small(
        UNetConfig(32, (8, 16, 32, 64), (3,), groups=4, zero_init=True),
        4500,
        flip=True,
        ema=0.999,
        checkpoint_every=1500,
        sample_every=1500,
    ),
    # 38,307,203 parameters
    "cifar": _paper(UNetConfig(32, (128, 256, 256, 256), (1,), 2, 32, 8, 0.1, True)),
    # 118,795,011 parameters
    "celeba": _paper(UNetConfig(64, (128, 128, 256, 256, 512, 512), (4,), 2, 32, 8, 0.1, True)),
}


def preset(name: str) -> TrainConfig:
    """Return the settings of a preset.

    Raises:
        SettingsError: if the name is unknown; the message suggests the most similar one.
    """
    if name not in PRESETS:
        raise unknown("training preset", name, PRESETS)
    return PRESETS[name]
