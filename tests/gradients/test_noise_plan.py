"""The noise plan is a function of (seed, role, id, timestep, draw) and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.errors import SettingsError
from creditline.gradients.noise_plan import NoisePlan

SHAPE = (3, 4, 4)


def test_uniform_grid_is_that_of_the_paper():
    assert NoisePlan(timesteps=10).grid(1000, "train", "a").tolist() == list(range(0, 1000, 100))


def test_uniform_grid_without_zero_ends_at_the_last_timestep():
    grid = NoisePlan(timesteps=10, include_zero=False).grid(1000, "train", "a")
    assert grid.tolist() == list(range(99, 1000, 100))


@pytest.mark.parametrize("count", [1, 3, 7, 64, 999, 1000])
def test_uniform_grid_has_the_requested_count_even_where_it_does_not_divide(count):
    for zero in (True, False):
        grid = NoisePlan(timesteps=count, include_zero=zero).grid(1000, "train", "a")
        assert len(set(grid.tolist())) == count
        assert grid.min() >= 0
        assert grid.max() < 1000


def test_cumulative_grid():
    assert NoisePlan("cumulative", 3).grid(1000, "train", "a").tolist() == [0, 1, 2]
    assert NoisePlan("cumulative", 3, False).grid(1000, "train", "a").tolist() == [1, 2, 3]


def test_random_grid_depends_on_image_and_role_only():
    plan = NoisePlan("random", 50)
    grid = plan.grid(1000, "train", "a")
    assert np.array_equal(grid, plan.grid(1000, "train", "a"))
    assert not np.array_equal(grid, plan.grid(1000, "train", "b"))
    assert not np.array_equal(grid, plan.grid(1000, "query", "a"))


def test_noise_of_a_timestep_does_not_depend_on_the_other_timesteps():
    plan = NoisePlan(draws=2)
    many = plan.noise([0, 100, 700], SHAPE, "train", "a")
    one = plan.noise([700], SHAPE, "train", "a")
    assert np.array_equal(many[2], one[0])


def test_more_draws_keep_the_first_ones():
    few = NoisePlan(draws=2).noise([5], SHAPE, "train", "a")
    more = NoisePlan(draws=4).noise([5], SHAPE, "train", "a")
    assert np.array_equal(few[0], more[0, :2])


def test_noise_differs_in_every_part_of_its_key():
    base = NoisePlan().noise([5], SHAPE, "train", "a")
    others = [
        NoisePlan(noise_seed=1).noise([5], SHAPE, "train", "a"),
        NoisePlan().noise([6], SHAPE, "train", "a"),
        NoisePlan().noise([5], SHAPE, "query", "a"),
        NoisePlan().noise([5], SHAPE, "train", "b"),
        NoisePlan(draws=2).noise([5], SHAPE, "train", "a")[:, 1:],
    ]
    for other in others:
        assert not np.allclose(base, other)


def test_shared_noise_is_the_same_for_all_images_and_both_roles():
    plan = NoisePlan(shared_noise=True)
    a = plan.noise([5, 9], SHAPE, "train", "a")
    assert np.array_equal(a, plan.noise([5, 9], SHAPE, "query", "b"))
    assert not np.allclose(a[0], a[1])


def test_repeated_timesteps_of_a_random_plan_get_independent_noise():
    noise = NoisePlan().noise([5, 5], SHAPE, "train", "a")
    assert not np.allclose(noise[0], noise[1])


def test_noise_is_standard_normal():
    noise = NoisePlan(draws=50).noise(range(50), SHAPE, "train", "a").ravel()
    assert abs(noise.mean()) < 4 / np.sqrt(noise.size)
    assert abs(noise.var() - 1) < 4 * np.sqrt(2 / noise.size)
    # Streams of neighboring counters do not overlap.
    rows = NoisePlan().noise(range(200), (48,), "train", "a")[:, 0]
    correlation = np.corrcoef(rows)[np.triu_indices(200, 1)]
    assert np.abs(correlation).max() < 6 / np.sqrt(48)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"schedule": "unifrom"}, "uniform"),
        ({"timesteps": 0}, "at least 1"),
        ({"draws": 0}, r"in \[1, 100,000\]"),
        ({"noise_seed": -1}, "negative"),
        ({"timestep_list": (3,)}, "schedule 'list'"),
        ({"schedule": "list", "timestep_list": (3, 5)}, "timesteps = 2"),
        ({"schedule": "list", "timestep_list": (3, 3), "timesteps": 2}, "timesteps = 1"),
        ({"schedule": "list", "timestep_list": (-3,), "timesteps": 1}, "negative"),
        ({"mirror": True, "timesteps": 2}, "two draws"),
    ],
)
def test_bad_settings_are_refused_at_once(settings, word):
    with pytest.raises(SettingsError, match=word):
        NoisePlan(**settings)


def test_listed_timesteps_are_those_of_every_image():
    plan = NoisePlan("list", timesteps=2, timestep_list=(900, 5))
    assert plan.grid(1000, "train", "a").tolist() == [900, 5]
    assert plan.grid(1000, "query", "b").tolist() == [900, 5]
    with pytest.raises(SettingsError, match="below 900"):
        plan.grid(900, "train", "a")


@pytest.mark.parametrize(("timesteps", "draws"), [(8, 1), (8, 2), (1, 4), (10, 3)])
def test_half_of_all_evaluations_are_mirrored_and_of_both_halves(timesteps, draws):
    mirrored = NoisePlan(timesteps=timesteps, draws=draws, mirror=True).mirrored(timesteps * draws)
    step, draw = np.divmod(np.arange(timesteps * draws), draws)
    for half in range(2):
        share = mirrored[(step + draw) % 2 == half].mean()
        assert share == pytest.approx(0.5, abs=0.04)
    assert not NoisePlan(timesteps=timesteps, draws=draws).mirrored(timesteps * draws).any()


def test_more_timesteps_than_the_process_has_are_refused():
    with pytest.raises(SettingsError, match="1000"):
        NoisePlan(timesteps=1001).grid(1000, "train", "a")
    with pytest.raises(SettingsError, match="trajectory"):
        NoisePlan("trajectory").grid(1000, "query", "a")
