"""Settings of training and sampling."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from creditline.settings import require, setting, validate_choices

BetaSchedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2"]
DiscretePrediction = Literal["epsilon", "v_prediction", "sample"]


@dataclass(frozen=True)
class UNetConfig:
    """Settings of a diffusers `UNet2DModel` on pixels.

    Raises:
        SettingsError: on sizes of which no network can be built.
    """

    resolution: int = setting(16, "height and width of the images in pixels")
    channels: tuple[int, ...] = setting((32, 64), "channels of each level, finest first")
    attention: tuple[int, ...] = setting((), "levels with self-attention, 0 is the finest")
    layers: int = setting(1, "residual blocks per level")
    groups: int = setting(8, "groups of the group normalization")
    head_dim: int = setting(8, "dimension of an attention head")
    dropout: float = setting(0.0, "dropout in residual and attention blocks")
    scale_shift: bool = setting(
        False, "the time embedding scales and shifts, instead of only shifting"
    )
    zero_init: bool = setting(False, "residual branches and the output start at zero")
    classes: int = setting(0, "number of classes to condition on; 0 is unconditional")

    def __post_init__(self) -> None:
        for name in ("layers", "groups", "head_dim"):
            value = getattr(self, name)
            require(value >= 1, f"{name} must be at least 1", value, "Leave it at its default.")
        halvings = 2 ** (len(self.channels) - 1)
        require(
            len(self.channels) > 0 and all(c > 0 and c % self.groups == 0 for c in self.channels),
            f"channels must be positive multiples of groups = {self.groups}",
            self.channels,
            "Try 32,64.",
        )
        require(
            self.resolution > 0 and self.resolution % halvings == 0,
            f"resolution must be a multiple of {halvings} for {len(self.channels)} levels",
            self.resolution,
            "Use fewer levels or another resolution.",
        )
        require(
            all(0 <= level < len(self.channels) for level in self.attention),
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
        require(0 <= self.dropout < 1, "dropout must be in [0, 1)", self.dropout, "Try 0.1.")
        require(self.classes >= 0, "classes must not be negative", self.classes, "Use 0 for none.")

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
    steps: int = setting(1000, "optimizer steps")
    batch_size: int = setting(64, "images per step")
    learning_rate: float = setting(1e-3, "peak learning rate")
    beta1: float = setting(0.95, "AdamW's first decay")
    beta2: float = setting(0.999, "AdamW's second decay")
    weight_decay: float = setting(1e-6, "AdamW's weight decay")
    warmup: float = setting(
        0.1, "share of the steps with linear warm-up, before the cosine schedule"
    )
    clip: float = setting(1.0, "largest gradient norm")
    stratified: bool = setting(False, "spread the timesteps of a batch evenly")
    flip: bool = setting(False, "mirror half of the images")
    ema: float = setting(0.0, "decay of the averaged weights that are saved; 0 saves the last ones")
    seed: int = setting(0, "seed of weights, order, noise and dropout")
    checkpoint_every: int = setting(0, "steps between checkpoints; 0 keeps none")
    sample_every: int = setting(0, "steps between grids of samples; 0 makes none")

    def __post_init__(self) -> None:
        validate_choices(self)
        check_numbers(self)


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


def check_numbers(settings: RunSettings, positive: Iterable[str] = ()) -> None:
    """Refuse training settings out of range.

    Args:
        settings: settings of a training.
        positive: names of further integers that must be at least 1.

    Raises:
        SettingsError: naming the number.
    """
    for name in ("steps", "batch_size", *positive):
        value = getattr(settings, name)
        require(value >= 1, f"{name} must be at least 1", value, "Use 1 or more.")
    for name in ("checkpoint_every", "sample_every", "seed", "weight_decay"):
        value = getattr(settings, name)
        require(value >= 0, f"{name} must not be negative", value, "Use 0 or more.")
    for name in ("learning_rate", "clip"):
        value = getattr(settings, name)
        require(value > 0, f"{name} must be positive", value, "Leave it at its preset.")
    for name in ("beta1", "beta2", "ema", "warmup"):
        value = getattr(settings, name)
        require(0 <= value < 1, f"{name} must be in [0, 1)", value, "Leave it at its preset.")


@dataclass(frozen=True)
class GenerateConfig:
    """Settings of generating images.

    Raises:
        SettingsError: on counts below 1, an eta outside [0, 1] or a guidance below 0.
    """

    steps: int = setting(50, "sampler steps")
    eta: float = setting(0.0, "DDIM's eta: 0 is deterministic, 1 is as random as DDPM")
    seed: int = setting(0, "image i starts from the noise of seed + i")
    trajectory: bool = setting(False, "keep the estimate of the clean image at every step")
    guidance: float | None = setting(
        None, "scale of classifier-free guidance, 1 is without; none: the pipeline's default"
    )
    negative_prompt: str | None = setting(
        None, "prompt that replaces the empty one in classifier-free guidance"
    )

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps must be at least 1", self.steps, "Try 50.")
        require(0 <= self.eta <= 1, "eta must be in [0, 1]", self.eta, "Try 0.")
        require(self.seed >= 0, "seed must not be negative", self.seed, "Try 0.")
        scale = self.guidance
        require(scale is None or scale >= 0, "guidance must not be negative", scale, "Try 5.")
