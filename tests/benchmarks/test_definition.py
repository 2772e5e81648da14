"""Definition of a benchmark: its draws of images and its training."""

from __future__ import annotations

from dataclasses import replace

from tests.benchmarks.tiny import TINY

from creditline.benchmarks import build as building


def test_draws_are_disjoint_and_use_everything(benchmark_images):
    sets = building.image_sets(TINY, benchmark_images)
    assert [len(sets[name]) for name in ("train", "validation", "base")] == [8, 4, 28]
    assert len({key for images in sets.values() for key in images.ids}) == 40


def test_subsets_are_trained_with_as_many_passes():
    assert TINY.subset_config.steps == 4
    assert replace(TINY.subset_config, steps=8) == TINY.config
