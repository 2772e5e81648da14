"""Settings of training and sampling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from creditline.bounds import CLIP, COUNT, FRACTION, NOT_NEGATIVE, POSITIVE, PROBABILITY, SEED, SIDE
from creditline.settings import require, setting, validate_settings

BetaSchedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2"]
DiscretePrediction = Literal["epsilon", "v_prediction", "sample"]


@dataclass(frozen=True)
class UNetConfig:
    """Settings of a diffusers `UNet2DModel` on pixels.

    Raises:
        SettingsError: on sizes of which no network can be built.
    """

    resolution: int = setting(16, "height and width of the images in pixels", bounds=SIDE)
    channels: tuple[int, ...] = setting(
        (32, 64), "channels of each level, finest first", bounds=COUNT
    )
    attention: tuple[int, ...] = setting(
        (), "levels with self-attention, 0 is the finest", bounds=NOT_NEGATIVE
    )
    layers: int = setting(1, "residual blocks per level", bounds=COUNT)
    groups: int = setting(8, "groups of the group normalization", bounds=COUNT)
    head_dim: int = setting(8, "dimension of an attention head", bounds=COUNT)
    dropout: float = setting(0.0, "dropout in residual and attention blocks", bounds=PROBABILITY)
    scale_shift: bool = setting(
        False, "the time embedding scales and shifts, instead of only shifting"
    )
    zero_init: bool = setting(False, "residual branches and the output start at zero")
    classes: int = setting(
        0, "number of classes to condition on; 0 is unconditional", bounds=NOT_NEGATIVE
    )

    def __post_init__(self) -> None:
        validate_settings(self)
        halvings = 2 ** (len(self.channels) - 1)
        require(
            all(c % self.groups == 0 for c in self.channels),
            f"channels must be positive multiples of groups = {self.groups}",
            self.channels,
            "Try 32,64.",
        )
        require(
            self.resolution % halvings == 0,
            f"resolution must be a multiple of {halvings} for {len(self.channels)} levels",
            self.resolution,
            "Use fewer levels or another resolution.",
        )
        require(
            all(level < len(self.channels) for level in self.attention),
            f"attention levels run from 0 to {len(self.channels) - 1}",
            self.attention,
            "Name levels that exist.",
        )
        # The middle block always has attention.
        for level in {*self.attention, len(self.channels) - 1}:
            require(
                self.channels[level] % self.head_dim == 0,
                f"channels of levels with attention must be multiples of head_dim = "
                f"{self.head_dim}",
                self.channels[level],
                "Choose another head_dim.",
            )

    def build(self) -> Any:
        """Create the network with random weights from torch's current random state."""
        from diffusers import UNet2DModel
        from diffusers.models.resnet import ResnetBlock2D
        from torch.nn import Dropout
        from torch.nn.init import zeros_

        down = ["AttnDownBlock2D" if i in self.attention else "DownBlock2D" for i in self._levels]
        unet = UNet2DModel(
            sample_size=self.resolution,
            in_channels=3,
            out_channels=3,
            layers_per_block=self.layers,
            block_out_channels=self.channels,
            down_block_types=tuple(down),
            up_block_types=tuple(k.replace("Down", "Up") for k in reversed(down)),
            norm_num_groups=self.groups,
            # Without this the middle attention loses its normalization under scale_shift.
            attn_norm_num_groups=self.groups,
            attention_head_dim=self.head_dim,
            dropout=self.dropout,
            resnet_time_scale_shift="scale_shift" if self.scale_shift else "default",
            num_class_embeds=self.classes or None,
        )
        for module in unet.modules():
            if isinstance(module, Dropout):  # diffusers has no setting for dropout in attention
                module.p = self.dropout
        if self.zero_init:
            blocks = [module for module in unet.modules() if isinstance(module, ResnetBlock2D)]
            for last in [unet.conv_out, *(block.conv2 for block in blocks)]:
                zeros_(last.weight)
                zeros_(last.bias)
        return unet

    @property
    def _levels(self) -> range:
        return range(len(self.channels))


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run.

    Every random choice is a function of `seed` and the step or epoch.

    Raises:
        SettingsError: on a number out of range or an unknown name.
    """

    unet: UNetConfig = field(default_factory=UNetConfig)
    beta_schedule: BetaSchedule = setting("linear", "noise schedule")
    prediction: DiscretePrediction = setting("epsilon", "training target of the network")
    steps: int = setting(1000, "optimizer steps", bounds=COUNT)
    batch_size: int = setting(64, "images per step", bounds=COUNT)
    learning_rate: float = setting(1e-3, "peak learning rate", bounds=POSITIVE)
    beta1: float = setting(0.95, "AdamW's first decay", bounds=PROBABILITY)
    beta2: float = setting(0.999, "AdamW's second decay", bounds=PROBABILITY)
    weight_decay: float = setting(1e-6, "AdamW's weight decay", bounds=NOT_NEGATIVE)
    warmup: float = setting(
        0.1,
        "share of the steps with linear warm-up, before the cosine schedule",
        bounds=PROBABILITY,
    )
    clip: float = setting(1.0, "largest gradient norm; inf: any", bounds=CLIP)
    stratified: bool = setting(False, "spread the timesteps of a batch evenly")
    flip: bool = setting(False, "mirror half of the images")
    ema: float = setting(
        0.0,
        "decay of the averaged weights that are saved; 0 saves the last ones",
        bounds=PROBABILITY,
    )
    seed: int = setting(0, "seed of weights, order, noise and dropout", bounds=SEED)
    checkpoint_every: int = setting(
        0, "steps between checkpoints; 0 keeps none", bounds=NOT_NEGATIVE
    )
    sample_every: int = setting(
        0, "steps between grids of samples; 0 makes none", bounds=NOT_NEGATIVE
    )

    def __post_init__(self) -> None:
        validate_settings(self)


class RunSettings(Protocol):
    """Settings that every kind of training has; see `TrainConfig`."""

    @property
    def steps(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def beta1(self) -> float: ...
    @property
    def beta2(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def warmup(self) -> float: ...
    @property
    def clip(self) -> float: ...
    @property
    def stratified(self) -> bool: ...
    @property
    def ema(self) -> float: ...
    @property
    def seed(self) -> int: ...
    @property
    def checkpoint_every(self) -> int: ...
    @property
    def sample_every(self) -> int: ...


@dataclass(frozen=True)
class GenerateConfig:
    """Settings of generating images.

    Raises:
        SettingsError: on counts below 1, an eta outside [0, 1] or a guidance below 0.
    """

    steps: int = setting(50, "sampler steps", bounds=COUNT)
    eta: float = setting(
        0.0, "DDIM's eta: 0 is deterministic, 1 is as random as DDPM", bounds=FRACTION
    )
    seed: int = setting(0, "image i starts from the noise of seed + i", bounds=SEED)
    trajectory: bool = setting(False, "keep the estimate of the clean image at every step")
    guidance: float | None = setting(
        None,
        "scale of classifier-free guidance, 1 is without; none: the pipeline's default",
        bounds=NOT_NEGATIVE,
    )
    negative_prompt: str | None = setting(
        None, "prompt that replaces the empty one in classifier-free guidance"
    )

    def __post_init__(self) -> None:
        validate_settings(self)
