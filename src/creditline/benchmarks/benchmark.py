"""What a benchmark is: which pictures, which models, which retrainings.

Small enough for anyone to rerun and large enough to tell methods apart: some hundreds of images
that a small network learns nearly by heart, so that a picture's loss depends on which of its
relatives were there. `icons` trains from scratch; `cifar2-small` starts every training from a base
that has seen other images of the same two classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from creditline.diffusion.config import TrainConfig
from creditline.diffusion.presets import preset
from creditline.errors import unknown
from creditline.evaluation.truth.retraining import RetrainingConfig
from creditline.evaluation.truth.subsets import SubsetSpec

ALL = 1_000_000


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Training, validation and base images are disjoint draws, so many of each group, from the same
    source.

    Attributes:
        name: as typed.
        about: what it is, in a line.
        source: where its images come from without asking; None: the user says.
        wanted: what the user has to give otherwise, in words.
        options: how `load_images` reads the source.
        each: what every draw takes the same number of.
        train, validation: images of each group.
        generated: pictures that the full model draws as further queries.
        config: training of the full model; a subset's has the same passes over its images.
        base: training of the base on all other images; None: from scratch.
        fleet: subsets and seeds.
        shares: subsets in which contributors have unequal shares, for judging their totals; None
            where images have no contributors.
    """

    name: str
    about: str
    source: str | None
    wanted: str
    options: Mapping[str, Any]
    each: Literal["contributor", "label"]
    train: int
    validation: int
    generated: int
    config: TrainConfig
    base: TrainConfig | None = None
    fleet: RetrainingConfig = field(default_factory=RetrainingConfig)
    shares: RetrainingConfig | None = None

    @property
    def fleets(self) -> dict[str, RetrainingConfig]:
        """Every set of retrainings, by its folder."""
        return {"truth": self.fleet} | ({} if self.shares is None else {"shares": self.shares})

    @property
    def subset_config(self) -> TrainConfig:
        """Training on one subset: the full model's passes over fewer images."""
        return replace(self.config, steps=round(self.config.steps * self.fleet.subsets.alpha))

    def draws(self) -> dict[str, dict[str, int]]:
        """Count and skip of each disjoint draw."""
        draws = {
            "train": {"count": self.train, "skip": 0},
            "validation": {"count": self.validation, "skip": self.train},
        }
        if self.base is not None:
            draws["base"] = {"count": ALL, "skip": self.train + self.validation}
        return draws


def _config(**changes: Any) -> TrainConfig:
    return replace(preset("icons-16"), checkpoint_every=0, **changes)


def _fleet(stratify: Literal["contributor", "label"]) -> RetrainingConfig:
    return RetrainingConfig(subsets=SubsetSpec(subsets=64, alpha=0.5, stratify=stratify), seeds=2)


BENCHMARKS = {
    b.name: b
    for b in (
        Benchmark(
            name="icons",
            about="200 icons by four artists at 16 px, trained from scratch",
            source="demo:icons",
            wanted="",
            options={},
            each="contributor",
            train=50,
            validation=15,
            generated=60,
            config=_config(steps=3200),
            fleet=_fleet("contributor"),
            shares=RetrainingConfig(
                subsets=SubsetSpec(subsets=32, scheme="contributor-shares"), seeds=1
            ),
        ),
        Benchmark(
            name="cifar2-small",
            about="400 photographs of cars and horses at 16 px, fine-tuned from a base",
            source=None,
            wanted="CIFAR-10's training images of automobile and horse, a folder or zip with a "
            "folder for each class",
            options={"size": 16, "labels": "folder", "contributors": "none"},
            each="label",
            train=200,
            validation=30,
            generated=60,
            config=_config(steps=2000, learning_rate=2e-3, flip=True),
            base=_config(steps=20_000, flip=True),
            fleet=_fleet("label"),
        ),
    )
}


def get(name: str) -> Benchmark:
    """The benchmark registered as `name`.

    Raises:
        SettingsError: if there is none; the message suggests the nearest.
    """
    if name not in BENCHMARKS:
        raise unknown("benchmark", name, BENCHMARKS)
    return BENCHMARKS[name]
