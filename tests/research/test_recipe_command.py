"""`creditline evaluate recipe`: reading one, its cost, its refusals, and a complete small run."""

from __future__ import annotations

import shlex
from dataclasses import replace

import numpy as np
import pytest
from tests.tiny_pipelines import make

from creditline.data.image_set import ImageSet
from creditline_research.paper import recipes


def test_a_recipe_is_described_with_the_authors_numbers(run):
    text = run("evaluate", "recipe", "cifar2").stdout
    assert "5,000 of 10,000, 32 pixels" in text
    assert "8,000 steps; 4,000 on a subset" in text
    line = next(x for x in text.splitlines() if x.split()[:2] == ["d-trak", "100"])
    assert "33.74 ± 0.37" in line
    assert "25.67 ± 0.40" in line
    assert max(map(len, text.splitlines())) <= 100
    assert "8.97" in text
    assert "50 of 10,000" in run("evaluate", "recipe", "cifar2", "--scale", "0.01").stdout
    assert "cut out twice" in run("evaluate", "recipe", "celeba").stdout


@pytest.mark.slow
def test_a_dry_run_prints_hours_where_the_network_is_known(run, monkeypatch):
    text = run("evaluate", "recipe", "artbench2", "--dry-run").stdout
    assert "1,152,000,000" in text
    assert "No hours" in text
    assert "--base" in text
    text = run(
        *("evaluate", "recipe", "cifar2", "--scale", "0.01", "--preset", "small-32"),
        *("--dry-run", "--measured-steps", "1"),
    ).stdout
    assert "hours on one cpu, measured over 1 steps of 2 images" in text
    assert max(map(len, text.splitlines()[:-1])) <= 100


def test_refuses(refused, data, tmp_path):
    recipe = ["evaluate", "recipe"]
    out = ["--out", tmp_path / "out"]
    assert "Did you mean 'cifar2'?" in refused(*recipe, "cifar22")
    assert "--out" in refused(*recipe, "cifar2", "--data", data)
    assert "train/CLASS" in refused(*recipe, "cifar2", *out)
    assert "--base" in refused(*recipe, "artbench2", "--data", data, *out)
    assert "--scheduler is about a base" in refused(*recipe, "artbench2", "--scheduler", "x")
    assert "new network" in refused(*recipe, "cifar2", "--accumulate", "2")
    assert "scale must be in" in refused(*recipe, "cifar2", "--scale", "2")
    assert "202,599" in refused(*recipe, "celeba", "--data", data, *out)
    assert not (tmp_path / "out").exists()


def small(monkeypatch, name, **more):
    """A recipe on five images of each of two classes."""
    tiny = replace(
        recipes.recipe(name),
        classes=("a", "b"),
        pool=10,
        test_pool=8,
        train_images=8,
        validation=2,
        generated=2,
        subsets=8,
        seeds=1,
        loss_timesteps=2,
        loss_draws=1,
        sampling_steps=2,
        **more,
    )
    monkeypatch.setitem(recipes.RECIPES, name, tiny)


def save_images(folder, side):
    """Save random images in the folders of the data set."""
    for part, each in (("train", 5), ("test", 4)):
        shape = (2 * each, side, side, 3)
        pixels = np.random.default_rng(each).integers(0, 256, shape, np.uint8)
        names = [f"{'ab'[i // each]}/{i % each}.png" for i in range(2 * each)]
        ImageSet.from_images(pixels, names=names).save(folder / part)
        (folder / part / "metadata.csv").unlink()
    return folder


@pytest.mark.slow
def test_runs_to_the_next_commands(run, monkeypatch, tmp_path):
    small(monkeypatch, "cifar2", epochs=1, network="small-32")
    save_images(tmp_path / "data", 32)
    text = run(
        *("evaluate", "recipe", "cifar2", "--data", tmp_path / "data"),
        *("--out", tmp_path / "out", "--workers", "1", "--threads", "1"),
    ).stdout
    assert "losses of 4 queries under 8 subsets x 1 models" in text
    assert f"creditline index {tmp_path}/out/model {tmp_path}/out/images --out INDEX" in text
    assert f"--ground-truth {tmp_path}/out/ground-truth" in text
    assert f"--targets {tmp_path}/out/queries/targets.txt --removals 500,1000,2500" in text


@pytest.mark.slow
def test_the_commands_that_a_recipe_of_tuning_prints_can_be_run(run, monkeypatch, tmp_path):
    pytest.importorskip("peft")
    short = {"epochs": 4, "batch_size": 4, "timesteps": (4,), "dim": 16}
    small(monkeypatch, "artbench2", resolution=16, **short)
    monkeypatch.chdir(tmp_path)
    make("sd").save_pretrained("base")
    save_images(tmp_path / "data", 16)
    command = ("evaluate", "recipe", "artbench2", "--base", "base")
    text = run(*command, "--dry-run", "--measured-steps", "1").stdout
    assert "hours on one cpu, measured over 1 steps of 2 images" in text
    assert "Latents, projection and scoring come on top" in text

    command = (*command, "--vae", "sample", "--accumulate", "2", "--precision", "bf16")
    text = run(
        *command, "--data", "data", "--out", "out", "--workers", "1", "--threads", "1"
    ).stdout
    index, lds, counterfactual = (line for line in text.splitlines() if " creditline " in line)
    assert "dimension   16" in run(*shlex.split(index)[1:]).stdout
    assert "d-trak" in run(*shlex.split(lds)[1:]).stdout.lower()
    assert "--targets out/queries/targets.txt" in counterfactual
