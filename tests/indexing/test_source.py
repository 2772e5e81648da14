"""SOURCE on the checkpoints of a run."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

import creditline as cl
from creditline.data.image_set import ImageSet
from creditline.diffusion.config import TrainConfig, UNetConfig
from creditline.diffusion.learning_rate import learning_rate_at
from creditline.diffusion.training_schedule import training_schedule
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.preconditioning import Preconditioning
from creditline.gradients.projection import Projection
from creditline.manifest import Manifest
from creditline.methods import get

CONFIG = TrainConfig(
    unet=UNetConfig(8, (8, 16), groups=4), steps=9, batch_size=4, checkpoint_every=3
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8)
    images = ImageSet.from_images(pixels)
    return cl.train(images, tmp_path_factory.mktemp("run") / "run", CONFIG), images


def method(**changes):
    source = get("source")()
    preconditioning = Preconditioning(
        "ekfac", preconditioner_filter="unrolled", preconditioner_draws=24, **changes
    )
    features = replace(
        source.features,
        plan=NoisePlan(timesteps=4),
        projection=Projection("count-sketch", 512),
        preconditioning=preconditioning,
    )
    return replace(source, features=features)


def checkpoints(run):
    return [run / "checkpoints" / f"step-{step:06d}" for step in (3, 6, 9)]


@pytest.mark.slow
def test_schedules_are_those_of_the_run(run):
    folder, _ = run
    for place, step in [(checkpoints(folder)[1], 6), (folder / "model", 9), (folder, 9)]:
        schedule = training_schedule(place)
        assert (schedule.step, schedule.batch_size) == (step, 4)
        assert schedule.rate_sum == pytest.approx(
            sum(learning_rate_at(CONFIG, i) for i in range(step))
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 2}, "follows a training run"),
        ({"steps": "9"}, "request.config.steps"),
        ({"batch_size": 0}, "request.config.batch_size"),
        ({"learning_rate": None}, "request.config.learning_rate"),
        ({"warmup": 1.5}, "request.config.warmup"),
    ],
)
def test_a_manifest_without_sense_is_refused(run, tmp_path, changes, words):
    folder, _ = run
    other = shutil.copytree(folder, tmp_path / "run")
    manifest = Manifest.read(other, "run")
    config = {**manifest.request["config"], **changes}
    replace(manifest, request={**manifest.request, "config": config}).write(other)
    with pytest.raises(cl.CreditlineError, match=words):
        training_schedule(other / "checkpoints" / "step-000006")


@pytest.mark.slow
def test_it_is_traced_and_read_again(run, tmp_path):
    folder, images = run
    models = [cl.load_model(str(place)) for place in checkpoints(folder)]
    index = cl.index(models, images, method=method(), out=tmp_path / "index")
    queries = images.subset([1, 4])
    scores = index.scores(queries)
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) == scores.size
    again = cl.open_index(index.path)
    assert np.array_equal(again.scores(queries), scores)
    changed = index.remove([0]).add(images.subset([0]))
    assert np.isfinite(changed.scores(queries)).all()


@pytest.mark.slow
def test_the_sum_with_d_trak_takes_the_filter_of_the_whole_training(run, tmp_path):
    folder, images = run
    model, queries = cl.load_model(str(folder)), images.subset([1, 4])
    alone = cl.index([model], images, method=method(), out=tmp_path / "source")
    total = replace(get("combined")(), features=method().features, square_norm_dim=64)
    index = cl.index(model, images, method=total, out=tmp_path / "sum")
    assert_allclose(index.using("ekfac").scores(queries), alone.scores(queries), rtol=1e-5)
    assert np.isfinite(cl.open_index(index.path).scores(queries)).all()


@pytest.mark.slow
def test_models_that_are_no_checkpoints_of_one_run_in_order_are_refused(run, tiny_model, tmp_path):
    folder, images = run
    first, second, _ = (cl.load_model(str(place)) for place in checkpoints(folder))
    with pytest.raises(cl.CreditlineError, match="in order"):
        cl.index([second, first], images, method=method(), out=tmp_path / "index")
    with pytest.raises(cl.CreditlineError, match="follows a training run"):
        cl.index(tiny_model, images, method=method(), out=tmp_path / "other")


def test_damping_beside_it_is_refused():
    with pytest.raises(cl.CreditlineError, match="no damping"):
        method(preconditioner_damping=0.1)
