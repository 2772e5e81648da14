"""Training can stop anywhere, by any cause, and ends with the weights it would have had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file

from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion import train as train_module
from creditline.diffusion import training_run as run_module
from creditline.diffusion import training_state as state_module
from creditline.diffusion.load import checkpoints, learning_rate, load_model
from creditline.diffusion.train import train
from creditline.diffusion.training_task import PixelTrainingTask
from creditline.errors import (
    CreditlineError,
    DataError,
    NumericsError,
)
from creditline.runtime import Runtime
from creditline.settings import to_dict


@pytest.fixture(autouse=True)
def _save_every_step(monkeypatch):
    monkeypatch.setattr(run_module, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(run_module, "SAVE_SHARE", 0.0)


def logged(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]


def stop_in(monkeypatch, owner, name, call, error, after=False):
    """Raise `error` in the `call`-th call of a function, before or after its work."""
    original, calls = getattr(owner, name), []

    def stopping(*args, **kwargs):
        calls.append(None)
        if len(calls) == call and not after:
            raise error
        result = original(*args, **kwargs)
        if len(calls) == call:
            raise error
        return result

    monkeypatch.setattr(owner, name, stopping)


def same_run(a, b, weights):
    assert weights(a / "model") == weights(b / "model")
    assert [c.name for c in checkpoints(a)] == [c.name for c in checkpoints(b)]
    for left, right in zip(checkpoints(a), checkpoints(b), strict=True):
        assert weights(left) == weights(right)
    assert logged(a) == logged(b)


@pytest.mark.slow
def test_a_run_leaves_what_it_promises(labeled_images, tiny_config, tmp_path):
    config = replace(tiny_config, sample_every=7)
    run = train(labeled_images, tmp_path / "run", config)
    assert {p.name for p in run.iterdir()} == {
        "checkpoints",
        "log.jsonl",
        "manifest.json",
        "model",
        "samples",
    }
    assert [c.name for c in checkpoints(run)] == ["step-000003", "step-000006"]
    assert [entry["step"] for entry in logged(run)] == [1, 2, 3, 4, 5, 6, 7]
    grid = np.asarray(Image.open(run / "samples" / "step-000007.png"))
    assert grid.shape[0] >= 4 * 8
    assert grid.std() > 0
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    assert manifest["status"] == "complete"
    assert manifest["request"]["images"]["fingerprint"] == labeled_images.fingerprint
    assert load_model(run).n_classes == 3
    assert load_model(run).fingerprint != load_model(checkpoints(run)[-1]).fingerprint


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_and_another_seed_another(
    tiny_images, plain_config, tmp_path, weights
):
    a = train(tiny_images, tmp_path / "a", plain_config)
    torch.manual_seed(99)  # what was drawn before does not matter
    b = train(tiny_images, tmp_path / "b", plain_config)
    c = train(tiny_images, tmp_path / "c", replace(plain_config, seed=4))
    same_run(a, b, weights)
    assert weights(a / "model") != weights(c / "model")


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["ema", "flip", "dropout"])
def test_every_setting_takes_effect(tiny_images, plain_config, tmp_path, weights, setting):
    off = (
        replace(plain_config, unet=replace(plain_config.unet, dropout=0.0))
        if setting == "dropout"
        else replace(plain_config, **{setting: type(getattr(plain_config, setting))(0)})
    )
    a = train(tiny_images, tmp_path / "a", replace(plain_config, steps=3))
    b = train(tiny_images, tmp_path / "b", replace(off, steps=3))
    assert weights(a / "model") != weights(b / "model")


@pytest.mark.slow
def test_training_leaves_torch_as_it_was(tiny_images, plain_config, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    train(
        tiny_images,
        tmp_path / "run",
        replace(plain_config, steps=1),
        runtime=Runtime(threads=threads + 1),
    )
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


@pytest.mark.slow
def test_training_lowers_the_loss(plain_config, tmp_path):
    flat = ImageSet.from_images([np.full((8, 8, 3), 40, np.uint8)])
    config = replace(plain_config, steps=60, learning_rate=1e-2, batch_size=16, checkpoint_every=0)
    losses = [entry["loss"] for entry in logged(train(flat, tmp_path / "run", config))]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])


def test_every_epoch_shows_each_image_once(labeled_images, tiny_config, tmp_path):
    task = PixelTrainingTask(train_module.initial_network(tiny_config), labeled_images)
    run = run_module.TrainingRun(task, tmp_path, tiny_config, Runtime())
    epochs = [np.concatenate([run._rows(3 * e + b) for b in range(3)]) for e in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(12))] * 2
    assert list(epochs[0]) != list(epochs[1])


@pytest.mark.slow
def test_models_know_the_rate_of_the_update_they_came_from(tiny_images, plain_config, tmp_path):
    run = train(tiny_images, tmp_path / "run", plain_config)
    rates = {entry["step"]: entry["rate"] for entry in logged(run)}
    assert [learning_rate(c) for c in checkpoints(run)] == [rates[3], rates[6]]
    assert learning_rate(run) == learning_rate(run / "model") == rates[7]
    assert learning_rate(str(run)) == rates[7]
    assert learning_rate(load_model(run).source) == rates[7]
    assert learning_rate(load_model(load_model(run).module, scheduler={}).source) is None


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 4, 7])
def test_interrupted_between_steps(
    labeled_images, tiny_config, tmp_path, monkeypatch, weights, step
):
    reference = train(labeled_images, tmp_path / "whole", tiny_config)
    monkeypatch.setattr(run_module, "SAVE_SECONDS", 1e9)  # only the interruption saves
    with monkeypatch.context() as patch:
        stop_in(patch, run_module.TrainingRun, "_step", step, KeyboardInterrupt(), after=True)
        with pytest.raises(KeyboardInterrupt):
            train(labeled_images, tmp_path / "parts", tiny_config)
    assert len(logged(tmp_path / "parts")) == step
    steps_taken = []
    original = run_module.TrainingRun._step
    monkeypatch.setattr(
        run_module.TrainingRun,
        "_step",
        lambda self: steps_taken.append(self.state.step) or original(self),
    )
    parts = train(labeled_images, tmp_path / "parts", tiny_config)
    assert steps_taken == list(range(step, 7))  # nothing was done twice
    same_run(reference, parts, weights)


@pytest.mark.slow
def test_interrupted_within_an_update(labeled_images, tiny_config, tmp_path, monkeypatch, weights):
    reference = train(labeled_images, tmp_path / "whole", tiny_config)
    with monkeypatch.context() as patch:
        stop_in(patch, torch.optim.AdamW, "step", 5, KeyboardInterrupt(), after=True)
        with pytest.raises(KeyboardInterrupt):
            train(labeled_images, tmp_path / "parts", tiny_config)
    # Weights have moved and the count has not: this was not saved.
    same_run(reference, train(labeled_images, tmp_path / "parts", tiny_config), weights)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["_write_model", "_write_grid"])
def test_interrupted_while_writing_what_is_due(
    tiny_images, plain_config, tmp_path, monkeypatch, weights, what
):
    config = replace(plain_config, sample_every=3)
    reference = train(tiny_images, tmp_path / "whole", config)
    with monkeypatch.context() as patch:
        stop_in(patch, run_module.TrainingRun, what, 1, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            train(tiny_images, tmp_path / "parts", config)
    parts = train(tiny_images, tmp_path / "parts", config)
    same_run(reference, parts, weights)
    for name in ("step-000003.png", "step-000006.png"):
        left, right = (Image.open(run / "samples" / name) for run in (reference, parts))
        assert left.tobytes() == right.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), SafetensorError("No space left on device")]
)
def test_a_full_disk(tiny_images, plain_config, tmp_path, monkeypatch, weights, error):
    reference = train(tiny_images, tmp_path / "whole", plain_config)
    with monkeypatch.context() as patch:
        stop_in(patch, state_module, "save_file", 4, error)
        with pytest.raises(CreditlineError, match=r"No space left.*run the same command again"):
            train(tiny_images, tmp_path / "parts", plain_config)
    assert not list((tmp_path / "parts").glob(".creditline-*"))
    same_run(reference, train(tiny_images, tmp_path / "parts", plain_config), weights)


@pytest.mark.slow
def test_a_model_written_but_not_marked_complete(
    tiny_images, plain_config, tmp_path, monkeypatch, weights
):
    reference = train(tiny_images, tmp_path / "whole", plain_config)
    with monkeypatch.context() as patch:
        # The second manifest is the one that says "complete".
        stop_in(patch, train_module.Manifest, "write", 2, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            train(tiny_images, tmp_path / "parts", plain_config)
    monkeypatch.setattr(run_module.TrainingRun, "_step", None)  # no step may be taken again
    same_run(reference, train(tiny_images, tmp_path / "parts", plain_config), weights)


KILLED = """
import os, signal, sys
import numpy as np
from diffusers import DDPMPipeline
from creditline.data.image_set import ImageSet
from creditline.diffusion import train as t, training_log, training_run, training_state
from creditline.diffusion.config import TrainConfig
from creditline.settings import from_dict

import json
from creditline.runtime import Runtime
config = from_dict(TrainConfig, json.loads(sys.argv[1]))
pixels = np.random.default_rng(1).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
images = ImageSet.from_images(pixels, labels=[i % 3 for i in range(12)])
training_run.SAVE_SECONDS, training_run.SAVE_SHARE = -1.0, 0.0

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def half_a_state(tensors, path, metadata, original=training_state.save_file):
    original(tensors, path, metadata)
    if metadata["step"] == "5":
        with open(path, "r+b") as file:
            file.truncate(1000)
        kill()

def half_a_model(self, folder, original=DDPMPipeline.save_pretrained):
    self.unet.save_pretrained(folder / "unet")
    kill()

def half_a_line(self, step, loss, rate, original=training_log.TrainingLog.append):
    original(self, step, loss, rate)
    if step == 2:
        with open(self.path, "r+b") as file:
            file.truncate(file.seek(0, 2) - 9)
        kill()

def no_end(folder):
    kill()

# Each child is killed elsewhere; the next one continues from what it left.
for owner, name, function in [
    (training_log.TrainingLog, "append", half_a_line),
    (DDPMPipeline, "save_pretrained", half_a_model),
    (training_state, "save_file", half_a_state),
]:
    child = os.fork()
    if child == 0:
        setattr(owner, name, function)
        t.train(images, sys.argv[2], config)
        os._exit(0)
    if os.waitpid(child, 0)[1] != signal.SIGKILL:
        sys.exit(f"{name} did not kill its process")
t.train(images, sys.argv[2], config)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_killed_while_writing_log_checkpoint_and_state(
    labeled_images, tiny_config, tmp_path, weights
):
    reference = train(labeled_images, tmp_path / "whole", tiny_config)
    settings = json.dumps(to_dict(tiny_config))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, settings, str(tmp_path / "parts")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    same_run(reference, tmp_path / "parts", weights)
    assert not list((tmp_path / "parts").glob(".creditline-*"))  # nor is any scrap left


@pytest.mark.slow
def test_a_loss_that_is_not_finite(tiny_images, plain_config, tmp_path, monkeypatch):
    broken = replace(plain_config, learning_rate=1e30, warmup=0.0)
    out = tmp_path / "run"
    with pytest.raises(NumericsError, match=r"At step \d+ the loss.*learning rate"):
        train(tiny_images, out, broken)
    stored = load_file(out / "state.safetensors")
    assert all(value.isfinite().all() for value in stored.values())
    with pytest.raises(NumericsError):  # and again, at the same step
        train(tiny_images, out, broken)
    steps = [entry["step"] for entry in logged(out)]
    assert steps == list(range(1, len(steps) + 1))


def test_a_gradient_that_is_not_finite_moves_no_weight(
    tiny_images, plain_config, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        torch.nn.utils, "clip_grad_norm_", lambda parameters, limit: torch.tensor(float("inf"))
    )
    with pytest.raises(NumericsError, match="norm inf"):
        train(tiny_images, tmp_path / "run", plain_config)
    assert not (tmp_path / "run" / "log.jsonl").read_text("utf-8")


@pytest.mark.slow
def test_images_may_stay_on_disk(tiny_images, plain_config, tmp_path, weights):
    folder = tiny_images.save(tmp_path / "images")
    short = replace(plain_config, steps=3)
    a = train(load_images(folder), tmp_path / "a", short)
    b = train(load_images(folder, memory=3 * 8 * 8 * 3), tmp_path / "b", short)
    assert weights(a / "model") == weights(b / "model")


def test_stratified_timesteps_are_spread_evenly(tiny_images, plain_config, tmp_path):
    config = replace(plain_config, stratified=True)
    task = PixelTrainingTask(train_module.initial_network(config), tiny_images)
    run = run_module.TrainingRun(task, tmp_path, config, Runtime())
    t = run._draw_timesteps(50, torch.Generator().manual_seed(0))
    assert sorted((t // 20).tolist()) == list(range(50))
    assert t.tolist() != sorted(t.tolist())


@pytest.mark.slow
def test_an_image_that_vanishes_stops_the_run_and_keeps_it(
    tiny_images, plain_config, tmp_path, monkeypatch, weights
):
    reference = train(tiny_images, tmp_path / "whole", plain_config)
    with monkeypatch.context() as patch:
        stop_in(patch, ImageSet, "pixels", 4, DataError("image 3 is gone"))
        with pytest.raises(DataError, match="image 3"):
            train(tiny_images, tmp_path / "parts", plain_config)
    same_run(reference, train(tiny_images, tmp_path / "parts", plain_config), weights)
