"""Settings of tuning a model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from creditline.bounds import CLIP, COUNT, NOT_NEGATIVE, POSITIVE, PROBABILITY, SEED
from creditline.diffusion.precision import Precision
from creditline.settings import require, setting, validate_settings


@dataclass(frozen=True)
class AdapterConfig:
    """Low-rank matrices `B A` beside weights, scaled by `alpha / rank` (Hu et al., ICLR 2022).

    `A` starts normal with deviation `1 / rank` and `B` at zero, as diffusers has it.

    Raises:
        SettingsError: on a rank below 1 or a scale that is not positive.
    """

    lora_rank: int | None = setting(
        None,
        "rank of the trained LoRA adapter; none: all weights of the denoiser are trained",
        bounds=COUNT,
    )
    lora_alpha: float | None = setting(
        None,
        "scale of the adapter, applied as alpha / rank; none: equal to the rank",
        bounds=POSITIVE,
    )
    lora_targets: tuple[str, ...] = setting(
        (), "suffixes of the names of the adapted layers; none: attention's projections"
    )

    def __post_init__(self) -> None:
        rank, alpha = self.lora_rank, self.lora_alpha
        validate_settings(self)
        require(
            rank is not None or (alpha is None and not self.lora_targets),
            "lora_alpha and lora_targets are settings of an adapter, and there is no lora_rank",
            alpha if alpha is not None else self.lora_targets,
            "Give lora_rank too (--lora-rank).",
        )


@dataclass(frozen=True)
class TuneConfig:
    """Settings of one tuning. Every random choice is a function of `seed` and the step or epoch.

    Diffusion process and targets are the model's own.

    Raises:
        SettingsError: on a number out of range or an unknown name.
    """

    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    steps: int = setting(1000, "optimizer steps", bounds=COUNT)
    epochs: int = setting(
        0, "passes over the images, which replace `steps`; 0: use `steps`", bounds=NOT_NEGATIVE
    )
    batch_size: int = setting(16, "images per step", bounds=COUNT)
    accumulate: int = setting(
        1, "backward passes into which a step is split, to save memory", bounds=COUNT
    )
    learning_rate: float = setting(1e-4, "peak learning rate", bounds=POSITIVE)
    beta1: float = setting(0.9, "AdamW's first decay", bounds=PROBABILITY)
    beta2: float = setting(0.999, "AdamW's second decay", bounds=PROBABILITY)
    weight_decay: float = setting(1e-6, "AdamW's weight decay", bounds=NOT_NEGATIVE)
    warmup: float = setting(
        0.1,
        "share of the steps with linear warm-up, before the cosine schedule",
        bounds=PROBABILITY,
    )
    clip: float = setting(1.0, "largest gradient norm; inf: any", bounds=CLIP)
    stratified: bool = setting(False, "spread the timesteps of a batch evenly")
    caption_dropout: float = setting(
        0.0, "probability that an image's caption or class is left out", bounds=PROBABILITY
    )
    attention_dropout: float = setting(0.0, "dropout of attention's outputs", bounds=PROBABILITY)
    flip: bool = setting(False, "mirror half of the images")
    precision: Precision = setting(
        "fp32", "precision of the network's arithmetic; trained weights keep their type"
    )
    gradient_checkpointing: bool = setting(
        False, "recompute activations in the backward pass, to save memory"
    )
    ema: float = setting(
        0.0,
        "decay of the averaged weights that are saved; 0 saves the last ones",
        bounds=PROBABILITY,
    )
    seed: int = setting(0, "seed of the adapter, order, noise and dropout", bounds=SEED)
    checkpoint_every: int = setting(
        0, "steps between checkpoints; 0 keeps none", bounds=NOT_NEGATIVE
    )
    sample_every: int = setting(
        0, "steps between grids of samples; 0 makes none", bounds=NOT_NEGATIVE
    )

    def __post_init__(self) -> None:
        validate_settings(self)
        require(
            self.accumulate <= self.batch_size,
            f"accumulate is at most the batch_size {self.batch_size}",
            self.accumulate,
            "Use fewer parts.",
        )

    def with_steps(self, n: int) -> TuneConfig:
        """Return the settings with `epochs` converted to steps on `n` images."""
        if not self.epochs:
            return self
        return replace(self, steps=self.epochs * -(-n // self.batch_size), epochs=0)
