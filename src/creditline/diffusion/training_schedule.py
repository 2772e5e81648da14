"""What a training run did up to one of its checkpoints: steps, learning rates, batches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from creditline.diffusion.learning_rate import sum_of_rates
from creditline.diffusion.saving import read_record
from creditline.errors import SettingsError
from creditline.fingerprint import of_json
from creditline.manifest import NAME, Kind, Manifest

KIND: Kind = "run"


@dataclass(frozen=True)
class TrainingSchedule:
    """The part of a training run that leads to a checkpoint.

    Attributes:
        step: number of updates before it.
        rate_sum: sum of their learning rates.
        batch_size: images of a step.
        run: fingerprint of the run's request; equal for the checkpoints of one run.
    """

    step: int
    rate_sum: float
    batch_size: int
    run: str


def training_schedule(source: str | Path | None) -> TrainingSchedule:
    """Read the schedule of a checkpoint, or of the final model, of a run of `creditline train`.

    Args:
        source: its folder, or the run's; None for a model in memory.

    Raises:
        SettingsError: if it does not lie in the folder of such a run, or records no step.
        DamageError: if its record or the run's manifest is damaged.
    """
    folder = _run_folder(source)
    place = Path(str(source))
    inner = place / "model" if place.resolve() == folder.resolve() else place
    step = read_record(inner).get("step")
    manifest = Manifest.read(folder, KIND)
    config: Any = SimpleNamespace(**manifest.request["config"])
    if step is None or not 0 <= step <= config.steps:
        raise _unknown(source)
    run = of_json(manifest.request)
    return TrainingSchedule(step, sum_of_rates(config, step), config.batch_size, run)


def _run_folder(source: str | Path | None) -> Path:
    if source is not None:
        place = Path(source)
        for folder in (place, *list(place.absolute().parents)[:2]):
            if (folder / NAME).is_file():
                return folder
    raise _unknown(source)


def _unknown(source: str | Path | None) -> SettingsError:
    named = "a model in memory" if source is None else str(source)
    return SettingsError(
        f"SOURCE follows a training run, and {named} is no checkpoint in the folder of a run of "
        "`creditline train`. Give checkpoints there, such as runs/icons/checkpoints/*, or use "
        "--method ekfac, which needs the final model alone."
    )
