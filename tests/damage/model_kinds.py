"""Models, trainings, generated images and retrainings of every kind, and what is read from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.damage.mutation import Answer
from tests.damage.world import World, interrupt

import creditline as cl
from creditline.data.load import load_images
from creditline.diffusion import generation, training_run
from creditline.diffusion.config import TrainConfig, UNetConfig
from creditline.diffusion.generation import read_record, read_trajectory
from creditline.diffusion.load import checkpoints, learning_rate
from creditline.diffusion.saving import save_pixel_pipeline
from creditline.diffusion.training_state import TrainingState
from creditline.diffusion.tuning.config import AdapterConfig, TuneConfig
from creditline.errors import CreditlineError
from creditline.evaluation.counterfactual.experiment import CounterfactualConfig, run_counterfactual
from creditline.evaluation.truth import retraining as retrainings
from creditline.evaluation.truth.losses import LossPlan
from creditline.evaluation.truth.retraining import RetrainingConfig, retrain
from creditline.evaluation.truth.subsets import SubsetSpec

UNET = UNetConfig(resolution=8, channels=(4,), groups=4, head_dim=4)
CONFIG = TrainConfig(
    unet=UNET, steps=3, batch_size=4, seed=5, learning_rate=0.02, checkpoint_every=1
)
LORA = TuneConfig(AdapterConfig(lora_rank=2), steps=2, batch_size=2, checkpoint_every=1)


def model(world: World) -> Answer:
    """A model with its record."""
    record = {"step": 3, "learning_rate": 0.1}
    save_pixel_pipeline(world.model, world.folder, record, world.aside)
    return lambda path: _weights(cl.load_model(path))


def run(world: World) -> Answer:
    """A training run with checkpoints."""
    cl.train(world.train, world.folder, CONFIG)
    return _run


def unfinished_run(world: World) -> Answer:
    """A training that is continued after the damage."""

    def train(path: Path) -> object:
        return _run(cl.train(world.train, path, CONFIG))

    interrupt(training_run.TrainingRun, "_step", lambda: train(world.folder), after=2)
    return train


def tuned_run(world: World) -> Answer:
    """A LoRA tuning of a latent model, with checkpoints."""
    base, images = _latent(world)
    cl.train(images, world.folder, LORA, base=base)

    def read(path: Path) -> object:
        models = [path / "model", *checkpoints(path)]
        return [_weights(cl.load_model(place, pipeline=base)) for place in models]

    return read


def unfinished_tuning(world: World) -> Answer:
    """A tuning that is continued after the damage, with its encodings."""
    base, images = _latent(world)

    def train(path: Path) -> object:
        out = cl.train(images, path, LORA, base=base)
        return _weights(cl.load_model(out / "model", pipeline=base))

    interrupt(training_run.TrainingRun, "_step", lambda: train(world.folder), after=1)
    return train


def state(world: World) -> Answer:
    """The state of a training."""

    def make() -> TrainingState:
        torch.manual_seed(0)
        module = torch.nn.Linear(4, 3)
        return TrainingState(module, torch.optim.AdamW(module.parameters(), lr=0.1), 0.9)

    before = make()
    before.module(torch.ones(4)).sum().backward()
    before.advance()
    world.folder.mkdir()
    before.save(world.folder)

    def read(path: Path) -> object:
        after = make()
        if not after.load(path):
            raise CreditlineError("trains from the beginning")
        values = [after.step, after.scale, *after.trained.values(), *after.average.values()]
        return repr([*values, list(after.optimizer.state.values())])

    return read


def images(world: World) -> Answer:
    """Generated images with their record and sampling trajectories."""
    cl.generate(world.model, 2, world.folder, cl.GenerateConfig(steps=2, trajectory=True))
    return _images


def unfinished_images(world: World) -> Answer:
    """A generation that is continued after the damage."""
    config = cl.GenerateConfig(steps=2, trajectory=True)

    def generate(path: Path) -> object:
        return _images(cl.generate(world.model, 3, path, config, batch_size=1))

    interrupt(generation, "sample", lambda: generate(world.folder), after=2)
    return generate


def unfinished_truth(world: World) -> Answer:
    """A retraining that is continued after the damage, with finished tasks."""

    def untrained(subset: Any, seed: int, folder: Path) -> Any:
        return world.model

    settings = RetrainingConfig(
        SubsetSpec(subsets=8), LossPlan(loss_timesteps=2, loss_draws=1), seeds=1
    )

    def go(path: Path, limit: int | None = None) -> object:
        truth = retrain(
            world.train,
            {"q": world.queries},
            path,
            config=untrained,
            settings=settings,
            limit_tasks=limit,
        )
        return truth.digest()

    go(world.folder, 3)
    assert list((world.folder / retrainings.TASKS).glob("*.npy"))
    return go


def counterfactual(world: World) -> Answer:
    """Results of retraining without some images, which are read and completed."""
    plain = replace(CONFIG, checkpoint_every=0)
    trained = cl.train(world.train, world.aside / "run", plain)
    targets = cl.generate(trained, 2, world.aside / "targets", cl.GenerateConfig(steps=2))
    scores = {"trak": np.random.default_rng(3).standard_normal((2, 8))}

    def go(path: Path) -> object:
        settings = CounterfactualConfig(removals=(3,))
        result = run_counterfactual(
            world.train, targets, scores, path, config=plain, settings=settings
        )
        return result.to_json()

    go(world.folder)
    return go


def _weights(model: Any) -> object:
    return model.fingerprint, model.process.to_dict()


def _run(path: Path) -> object:
    models = [path, *checkpoints(path)]
    rates = [learning_rate(place) for place in models]
    if None in rates:  # a model whose record was removed, as of one from elsewhere
        raise CreditlineError("no record")
    return [
        (_weights(cl.load_model(place)), rate) for place, rate in zip(models, rates, strict=True)
    ]


def _images(path: Path) -> object:
    record = read_record(path)
    if record is None:  # images without a record
        raise CreditlineError("no record")
    loaded = load_images(path)
    if len(loaded) < record.n:  # images may be removed on purpose; `verify` misses them
        raise CreditlineError("an image is missing")
    runs = [read_trajectory(path, name) for name in loaded.names]
    details = [record.details(name) for name in loaded.names]
    pixels = loaded.array().tolist()
    return repr((pixels, details, [(t.tolist(), x.tolist()) for t, x in runs]))


def _latent(world: World) -> tuple[Any, Any]:
    pytest.importorskip("peft")
    from tests.tiny_pipelines import make, random_images

    place = world.aside / "base"
    if not place.exists():
        make("sd").save_pretrained(place)
    return place, random_images().subset(range(3))
