"""Settings of the paper's experiments, and their smaller versions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from creditline.diffusion.presets import preset
from creditline.diffusion.tuning.presets import TUNING_PRESETS
from creditline.errors import SettingsError
from creditline_research.paper.published import REMOVALS, published_results
from creditline_research.paper.recipes import RECIPES, recipe


@pytest.mark.parametrize(
    ("name", "full", "half"),
    [
        ("cifar2", 8000, 4000),
        ("cifar10", 78_200, 39_200),
        ("celeba", 8000, 4000),
        ("artbench2", 7900, 4000),
        ("artbench5", 19_600, 9800),
    ],
)
def test_steps_are_the_papers(name, full, half):
    experiment = recipe(name)
    assert experiment.steps(experiment.train_images) == full
    assert experiment.steps(experiment.subset_images) == half


def test_the_presets_steps_and_checkpoints():
    config = recipe("cifar2").config()
    assert (config.steps, config.batch_size, config.checkpoint_every) == (8000, 128, 2000)
    assert replace(config, sample_every=1000) == preset("cifar")
    assert recipe("celeba").config(seed=3) == replace(
        preset("celeba"), seed=3, sample_every=0, steps=8000
    )
    assert recipe("cifar10").config().checkpoint_every == 19_550


@pytest.mark.parametrize("name", RECIPES)
def test_scaled_by_one_factor(name):
    paper = recipe(name)
    assert paper.scaled(1) is paper
    small = paper.scaled(0.1)
    assert small.train_images == round(0.1 * paper.train_images)
    assert (small.validation, small.generated) == (100, 100)
    assert (small.subsets, small.seeds, small.loss_timesteps) == (8, 2, 100)
    assert (small.epochs, small.network, small.pool) == (paper.epochs, paper.network, paper.pool)
    assert small.removals == tuple(k // 10 for k in paper.removals)
    assert small.factor == 0.1
    if paper.classes:
        with pytest.raises(SettingsError, match="larger scale"):
            paper.scaled(1e-6)


@pytest.mark.parametrize("factor", [0, -1, 1.5])
def test_impossible_scales_are_refused(factor):
    with pytest.raises(SettingsError, match="scale must be"):
        recipe("cifar2").scaled(factor)


def test_another_network_keeps_the_epochs():
    small = recipe("cifar2").scaled(0.01).using("small-32")
    config = small.config()
    assert config.unet == preset("small-32").unet
    assert (config.batch_size, config.steps) == (32, 400)  # 50 images, 200 epochs of 2 batches
    with pytest.raises(SettingsError, match="32 pixels"):
        recipe("cifar2").using("small-16")
    with pytest.raises(SettingsError, match="preset"):
        recipe("cifar2").using("small-33")


@pytest.mark.parametrize("name", ["artbench2", "artbench5"])
def test_tunings_have_the_papers_settings(name):
    experiment = recipe(name)
    config = experiment.config(experiment.subset_images, seed=2)
    paper = TUNING_PRESETS["artbench"].with_steps(experiment.subset_images)
    every = experiment.steps(experiment.subset_images) // 4
    assert config == replace(paper, seed=2, checkpoint_every=every)
    assert config.adapter.lora_rank == 128
    half = experiment.scaled(0.01).on("bf16", 2).config()
    assert (half.precision, half.accumulate) == ("bf16", 2)
    full_tuning = experiment.using("tune")
    assert (full_tuning.config().adapter.lora_rank, full_tuning.config().batch_size) == (None, 16)


def test_a_prompt_for_each_class():
    assert recipe("artbench2").prompts == ["a post_impressionism painting", "a ukiyo_e painting"]
    assert len(recipe("artbench5").prompts) == 5
    assert recipe("cifar2").prompts is None


def test_refuses_what_does_not_fit_it():
    for name, settings, match in [
        ("cifar2", {"precision": "bf16"}, "new network.*precision"),
        ("artbench2", {"precision": "bf61"}, "Did you mean 'bf16'"),
        ("artbench2", {"accumulate": 65}, "accumulate is at most the batch_size 64"),
    ]:
        with pytest.raises(SettingsError, match=match):
            recipe(name).on(**settings)
    with pytest.raises(SettingsError, match=r"preset of ArtBench-2 'cifar'.*artbench"):
        recipe("artbench2").using("cifar")
    with pytest.raises(SettingsError, match="cifar2"):
        recipe("cifar-2")
    with pytest.raises(SettingsError, match=r"there is none.*--base.*256.*miniSD"):
        recipe("artbench2").check_base(None)
    recipe("cifar2").check_base(None)


def test_published_numbers_have_the_papers_order():
    for name in RECIPES:
        rows = published_results(name)
        single = {(r.method, r.timesteps): r for r in rows if not r.ensemble}
        for part in ("validation", "generated"):
            ten, hundred = (
                [getattr(single[method, t], part)[0] for method in ("trak", "d-trak")]
                for t in (10, 100)
            )
            assert ten[0] < hundred[0] < ten[1] < hundred[1]
        assert single["journey-trak", 10].validation is None
    assert len(published_results()) == sum(len(published_results(name)) for name in RECIPES) == 182
    assert published_results("cifar2")[0].validation == (7.77, 0.57)
    with pytest.raises(SettingsError, match="cifar2"):
        published_results("cifar3")


def test_published_removals_have_the_papers_order():
    for name, rows in REMOVALS.items():
        assert recipe(name).removals_trained == (1000,)
        assert [row.method for row in rows] == ["random", "trak", "d-trak"]
        assert sorted(rows, key=lambda row: row.l2) == list(rows)
        assert sorted(rows, key=lambda row: -row.cosine[0]) == list(rows)
