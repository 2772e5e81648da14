"""Options of every command that trains: a network of its own, or a base that is tuned."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from creditline.cli import models
from creditline.cli.options import flag, given_settings, leaves, settings_options
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.encoding_config import EncodingConfig
from creditline.diffusion.presets import PRESETS
from creditline.diffusion.tuning.config import TuneConfig
from creditline.diffusion.tuning.presets import TUNING_PRESETS
from creditline.errors import SettingsError, unknown
from creditline.settings import override

if TYPE_CHECKING:
    from creditline.diffusion.denoiser import Denoiser

F = TypeVar("F", bound=Callable[..., Any])

FRESH, TUNING = "small-16", "tune"
"""The presets of a training that names none."""


def training_options(leave_out: Iterable[str] = ()) -> Callable[[F], F]:
    """Decorate a command with settings of a training, and the model that it starts from.

    Args:
        leave_out: settings without an option.
    """

    def decorate(command: F) -> F:
        settings = (TrainConfig(), TuneConfig())
        command = settings_options(*settings, section="Training", default="", leave_out=leave_out)(
            command
        )
        command = models.parts_options(command)
        command = click.option(
            "--base",
            help="trained model to start from: of the settings' network, or any that is tuned  "
            "[default: none]",
        )(command)
        return click.option(
            "--preset",
            "preset_name",
            help=f"settings to start from: {', '.join(PRESETS)}; of tuning: "
            f"{', '.join(TUNING_PRESETS)}  [default: {FRESH}, or {TUNING}]",
        )(command)

    return decorate


def shape_check(
    config: TrainConfig | TuneConfig, base: Denoiser | None
) -> Callable[[tuple[int, int, int]], None]:
    """Return what refuses shapes of images that a training does not take."""
    from creditline.diffusion.train import check_shape

    if isinstance(config, TrainConfig):
        return partial(check_shape, config=config)
    tuned: Any = base  # without one, there are no settings of a tuning
    return tuned.check_shape


def read_training() -> tuple[TrainConfig | TuneConfig, Denoiser | None]:
    """Settings and base of the current command.

    A base is tuned if an adapter is tuning for, a preset of tuning is, or it is not a `UNet2DModel`
    on pixels.

    Raises:
        SettingsError: if settings of the other kind of training were given, or any of a base and
            there is none.
        ModelError: if the base cannot be loaded.
    """
    values = click.get_current_context().params
    name, base = values["preset_name"], values["base"]
    if name is not None and name not in PRESETS and name not in TUNING_PRESETS:
        raise unknown("training preset", name, [*PRESETS, *TUNING_PRESETS])
    tuning = name in TUNING_PRESETS or "lora_rank" in given_settings(TuneConfig())
    if base is None:
        refuse_parts()
        if tuning:
            raise SettingsError(
                "An adapter is trained on a model, and so is whatever is tuned; there is none. "
                "Give one with --base."
            )
        return _fresh(name), None
    model = models.load(base, device="cpu")
    if not tuning and model.trains_from_scratch:
        return _fresh(name), model
    return _tuning(name), model


def _fresh(name: str | None) -> TrainConfig:
    _refuse_other(TuneConfig(), TrainConfig(), "tuning a model (--base, --lora-rank)")
    return override(PRESETS[name or FRESH], given_settings(TrainConfig()))


def _tuning(name: str | None) -> TuneConfig:
    if name is not None and name not in TUNING_PRESETS:
        raise SettingsError(
            f"The preset {name} is of a network of its own, and the base has another. Use one of "
            f"{', '.join(TUNING_PRESETS)}, or none."
        )
    _refuse_other(TrainConfig(), TuneConfig(), "a network of its own, and the base has another")
    typed = given_settings(TuneConfig())
    if "steps" in typed:  # whichever of the two was given says how long
        typed = {"epochs": 0, **typed}
    return override(TUNING_PRESETS[name or TUNING], typed)


def _refuse_other(theirs: Any, ours: Any, what: str) -> None:
    """Refuse settings that only the other kind of training has."""
    wrong = [name for name in given_settings(theirs) if name not in leaves(ours)]
    if wrong:
        raise SettingsError(f"{', '.join(map(flag, wrong))}: of {what}. Leave it out.")


def refuse_parts() -> None:
    """Refuse what says how a base is loaded where there is none."""
    values = click.get_current_context().params
    names = ("pipeline", "adapters", "scheduler", "variant", "allow_pickle")
    typed = [*given_settings(EncodingConfig()), *(name for name in names if values[name])]
    if typed:
        option = flag("lora" if typed[0] == "adapters" else typed[0])
        raise SettingsError(f"{option} is about a base, and there is none. Give it with --base.")
