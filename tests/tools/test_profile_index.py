"""The profile's stages are where the program spends its time."""

from __future__ import annotations

import time

import pytest
from tools.profile_index import STAGES, Clock, measure_stages

import creditline as cl


@pytest.mark.slow
def test_every_stage_is_on_the_clock(tiny_model, tiny_images, tmp_path):
    clock = Clock()
    start = time.process_time()
    with measure_stages(clock):
        cl.index(tiny_model, tiny_images, out=tmp_path / "index", timesteps=2, dim=64)
        clock.turn()
    assert set(clock.seconds) == {stage for _, _, stage in STAGES}
    assert min(clock.seconds.values()) > 0
    assert sum(clock.seconds.values()) == pytest.approx(time.process_time() - start, rel=0.1)
