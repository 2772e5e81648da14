"""Random parts of an image set."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import creditline as cl
from creditline.data.draw import draw
from creditline.errors import DataError, SettingsError

PEOPLE = ["ada", "bob", "ada", "cyd", "ada", "bob", "ada", "ada"]


@pytest.fixture
def pictures():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3), dtype=np.uint8)
    labels = [0, 1] * 4
    return cl.ImageSet.from_images(pixels, contributors=PEOPLE, labels=labels)


def test_so_many_of_each_contributor_and_all_of_who_has_fewer(pictures):
    part = draw(pictures, 2, "contributor")
    assert Counter(part.contributors) == {"ada": 2, "bob": 2, "cyd": 1}
    assert list(part.names) == sorted(part.names)


def test_so_many_of_each_label_or_in_all(pictures):
    assert Counter(draw(pictures, 3, "label").labels) == {0: 3, 1: 3}
    assert len(draw(pictures, 3)) == 3
    assert draw(pictures, 8).ids == pictures.ids


def test_seeds_decide_and_larger_draws_keep_smaller_ones(pictures):
    assert draw(pictures, 4, seed=1).ids == draw(pictures, 4, seed=1).ids
    assert len({draw(pictures, 4, seed=s).ids for s in range(8)}) > 1
    assert set(draw(pictures, 2).ids) < set(draw(pictures, 5).ids)


def test_what_is_skipped_is_what_a_draw_of_so_many_takes(pictures):
    first, rest = draw(pictures, 2, "label"), draw(pictures, 99, "label", skip=2)
    assert sorted((*first.ids, *rest.ids)) == sorted(pictures.ids)
    again = cl.load_images(pictures, sample=99, sample_each="label", sample_skip=2)
    assert again.ids == rest.ids
    with pytest.raises(DataError, match="Nothing is left of 8 pictures after the first 8"):
        draw(pictures, 1, skip=8)


def test_others_do_not_change_a_contributors_draw(pictures):
    alone = pictures.subset([i for i, p in enumerate(PEOPLE) if p == "ada"])
    mine = draw(pictures, 2, "contributor")
    assert set(draw(alone, 2, "contributor").ids) <= set(mine.ids)


def test_load_images_draws_last(pictures, tmp_path):
    pictures.save(tmp_path / "data")
    part = cl.load_images(tmp_path / "data", sample=2, sample_each="contributor", sample_seed=3)
    assert part.ids == draw(pictures, 2, "contributor", 3).ids
    assert cl.load_images(pictures, sample=2).ids == draw(pictures, 2).ids


def test_what_cannot_be_drawn(pictures):
    with pytest.raises(SettingsError, match="sample must be at least 1"):
        draw(pictures, 0)
    with pytest.raises(SettingsError, match="contributor"):
        draw(pictures, 2, "contributer")
    with pytest.raises(SettingsError, match="Give sample, the number"):
        cl.load_images(pictures, sample_each="label")
    unknown = cl.ImageSet.from_images(pictures.array(), contributors=[None, *PEOPLE[1:]])
    with pytest.raises(DataError, match="1 of 8 pictures have no contributor"):
        draw(unknown, 2, "contributor")
