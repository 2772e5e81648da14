"""Definition of a benchmark: its images, models and retraining.

A benchmark is small enough for anyone to rerun and large enough to distinguish methods. A small
network nearly memorizes some hundreds of images, so that an image's loss depends on which similar
images were in the training set. `icons` trains from scratch. `cifar2-small` starts every training
run from a base that was trained on other images of the same two classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from creditline.data.image_spec import ImageSpec
from creditline.data.metadata_spec import MetadataSpec
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.presets import preset
from creditline.errors import unknown
from creditline.evaluation.truth.retraining import RetrainingConfig
from creditline.evaluation.truth.subsets import SubsetSpec

ALL = 1_000_000


@dataclass(frozen=True)
class Benchmark:
    """Images, training and retraining of one benchmark.

    Training, validation and base images are disjoint draws of an equal number from each group of
    the source.

    Attributes:
        name: as typed.
        about: description in one line.
        source: where its images come from; None if the user has to give them.
        needed_data: description of the images that the user has to give.
        spec, metadata: settings of `load_images` for the source.
        each: groups that every draw takes the same number of images from.
        train, validation: number of images from each group.
        generated: number of images that the full model generates as further queries.
        config: training of the full model. A model of a subset makes as many passes over its
            images.
        base: training of the base on all other images; None to train from scratch.
        retraining: subsets and seeds of the ground truth.
        share_retraining: subsets in which contributors have unequal shares, for judging their
            totals; None where images have no contributors.
    """

    name: str
    about: str
    source: str | None
    needed_data: str
    spec: ImageSpec
    metadata: MetadataSpec
    each: Literal["contributor", "label"]
    train: int
    validation: int
    generated: int
    config: TrainConfig
    base: TrainConfig | None = None
    retraining: RetrainingConfig = field(default_factory=RetrainingConfig)
    share_retraining: RetrainingConfig | None = None

    @property
    def retrainings(self) -> dict[str, RetrainingConfig]:
        """Retraining of every ground truth, by its folder."""
        truths = {"truth": self.retraining}
        if self.share_retraining is not None:
            truths["shares"] = self.share_retraining
        return truths

    @property
    def subset_config(self) -> TrainConfig:
        """Training on one subset: as many passes over fewer images."""
        return replace(self.config, steps=round(self.config.steps * self.retraining.subsets.alpha))

    def draws(self) -> dict[str, dict[str, int]]:
        """Return count and skip of each disjoint draw."""
        draws = {
            "train": {"count": self.train, "skip": 0},
            "validation": {"count": self.validation, "skip": self.train},
        }
        if self.base is not None:
            draws["base"] = {"count": ALL, "skip": self.train + self.validation}
        return draws


def _config(**changes: Any) -> TrainConfig:
    return replace(preset("icons-16"), checkpoint_every=0, **changes)


def _retraining(stratify: Literal["contributor", "label"], subsets: int = 64) -> RetrainingConfig:
    spec = SubsetSpec(subsets=subsets, alpha=0.5, stratify=stratify)
    return RetrainingConfig(subsets=spec, seeds=2)


BENCHMARKS = {
    b.name: b
    for b in (
        Benchmark(
            name="icons",
            about="200 icons by four artists at 16 px, trained from scratch",
            source="demo:icons",
            needed_data="",
            spec=ImageSpec(),
            metadata=MetadataSpec(),
            each="contributor",
            train=50,
            validation=15,
            generated=60,
            config=_config(steps=3200),
            retraining=_retraining("contributor"),
            share_retraining=RetrainingConfig(
                subsets=SubsetSpec(subsets=32, scheme="contributor-shares"), seeds=1
            ),
        ),
        Benchmark(
            name="cifar2-small",
            about="400 photographs of cars and horses at 16 px, fine-tuned from a base",
            source=None,
            needed_data="CIFAR-10's training images of automobile and horse, a folder or zip with "
            "a folder for each class",
            spec=ImageSpec(size=16),
            metadata=MetadataSpec(labels="folder", contributors="none"),
            each="label",
            train=200,
            validation=30,
            generated=60,
            config=_config(steps=2000, learning_rate=2e-3, flip=True),
            base=_config(steps=20_000, flip=True),
            retraining=_retraining("label"),
        ),
        Benchmark(
            name="icons-memorized",
            about="48 icons by four artists at 16 px, conditioned on the artist, seen 400 times",
            source="demo:icons",
            needed_data="",
            spec=ImageSpec(),
            metadata=MetadataSpec(labels="column", label_column="contributor"),
            each="contributor",
            train=12,
            validation=10,
            generated=40,
            config=_config(steps=1200, unet=replace(preset("icons-16").unet, classes=4)),
            retraining=_retraining("contributor", subsets=48),
        ),
        Benchmark(
            name="icons-epsilon",
            about="240 icons by four artists at 16 px, a prediction of the noise, fine-tuned",
            source="demo:icons",
            needed_data="",
            spec=ImageSpec(),
            metadata=MetadataSpec(),
            each="contributor",
            train=60,
            validation=10,
            generated=40,
            config=_config(steps=600, learning_rate=2e-3, flip=True, prediction="epsilon"),
            base=_config(steps=8000, flip=True, prediction="epsilon"),
            retraining=_retraining("contributor", subsets=48),
        ),
    )
}


def get(name: str) -> Benchmark:
    """Look up a benchmark by name.

    Raises:
        SettingsError: if there is none; the message suggests the nearest.
    """
    if name not in BENCHMARKS:
        raise unknown("benchmark", name, BENCHMARKS)
    return BENCHMARKS[name]
