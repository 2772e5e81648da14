"""Named training settings: small ones for a CPU, and the D-TRAK paper's.

The paper's (Zheng et al., ICLR 2024): AdamW at 1e-4 with betas (0.95, 0.999) and weight decay 1e-6,
cosine schedule with 10 % warm-up, gradient norm 1, random flips, dropout 0.1, batches of 128, no
averaged weights; 200 epochs of 5,000 images are 8,000 steps.

The small ones see some 100,000 images, a hundredth of what such models usually get. What makes
that enough; the first and the learning rate were measured on the icons, by the error of the
predicted image at fixed noise levels, the others are common sense:

- v-prediction. A network that predicts noise has to pass its input on unchanged at high noise, and
  what it misses is divided by the little signal left: after 22,000 icons its guess of the image was
  worse than the mean icon, and its pictures were blotches. Their velocity it learns at once.
- A cosine noise schedule; few of the linear schedule's levels leave anything of small pictures.
- Many small steps at a high rate, on a thin network. In the time of 3,200 steps of 32 icons, 5,200
  of 16 made visibly crisper ones; 5e-3 beat 2e-3 at every noise level.
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


def _thin(resolution: int) -> UNetConfig:
    return UNetConfig(resolution, (16, 32, 64), (2,), zero_init=True)


PRESETS: dict[str, TrainConfig] = {
    # 687,347 parameters; about 7 minutes on one core
    "icons-16": _small(
        _thin(16),
        5200,
        batch_size=16,
        learning_rate=4e-3,
        ema=0.999,
        checkpoint_every=1300,
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
    # 675,227 parameters; about 20 minutes on one core: thin where pixels are many
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
    """The settings registered as `name`.

    Raises:
        SettingsError: if there are none; the message suggests the nearest.
    """
    if name not in PRESETS:
        raise unknown("training preset", name, PRESETS)
    return PRESETS[name]
