"""The learning rate follows the schedule that the papers' code uses."""

from __future__ import annotations

import pytest
import torch
from diffusers.optimization import get_cosine_schedule_with_warmup

from creditline.diffusion.config import TrainConfig
from creditline.diffusion.learning_rate import learning_rate_at, sum_of_rates


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_it_is_the_cosine_of_diffusers(warmup):
    config = TrainConfig(steps=40, warmup=warmup, learning_rate=3e-4)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    theirs = get_cosine_schedule_with_warmup(optimizer, int(40 * warmup), 40)
    for step in range(40):
        assert learning_rate_at(config, step) == pytest.approx(theirs.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        theirs.step()


def test_a_part_of_a_warm_up_step_is_a_whole_one():
    config = TrainConfig(steps=25, warmup=0.1, learning_rate=1.0)
    assert [learning_rate_at(config, step) for step in range(4)] == [0, 1 / 3, 2 / 3, 1]


def test_the_rate_peaks_once_and_ends_near_zero():
    config = TrainConfig(steps=100, warmup=0.2, learning_rate=2.0)
    rates = [learning_rate_at(config, step) for step in range(100)]
    assert max(rates) == rates[20] == 2.0
    assert rates[:20] == sorted(rates[:20])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert 0 < rates[-1] < 1e-3
    assert learning_rate_at(TrainConfig(steps=1), 0) == 0  # all of one step is warm-up


@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("step", [0, 1, 7, 40, 99, 100])
def test_the_sum_of_rates_is_their_sum(warmup, step):
    config = TrainConfig(steps=100, learning_rate=3e-3, warmup=warmup)
    rates = [learning_rate_at(config, before) for before in range(step)]
    assert sum_of_rates(config, step) == pytest.approx(sum(rates), rel=1e-12, abs=1e-15)
