"""Random parts of an image set."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from creditline.data import ImageSet, SelectionSpec, load_images
from creditline.data.selection import sample_images
from creditline.errors import DataError, SettingsError

PEOPLE = ["ada", "bob", "ada", "cyd", "ada", "bob", "ada", "ada"]


@pytest.fixture
def images():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3), dtype=np.uint8)
    labels = [0, 1] * 4
    return ImageSet.from_images(pixels, contributors=PEOPLE, labels=labels)


def draw(images, sample, each=None, seed=0, skip=0):
    spec = SelectionSpec(sample=sample, sample_each=each, sample_seed=seed, sample_skip=skip)
    return sample_images(images, spec)


def test_that_number_of_of_each_contributor_and_all_of_who_has_fewer(images):
    part = draw(images, 2, "contributor")
    assert Counter(part.contributors) == {"ada": 2, "bob": 2, "cyd": 1}
    assert list(part.names) == sorted(part.names)


def test_that_number_of_of_each_label_or_in_all(images):
    assert Counter(draw(images, 3, "label").labels) == {0: 3, 1: 3}
    assert len(draw(images, 3)) == 3
    assert draw(images, 8).ids == images.ids


def test_seeds_decide_and_larger_draws_keep_smaller_ones(images):
    assert draw(images, 4, seed=1).ids == draw(images, 4, seed=1).ids
    assert len({draw(images, 4, seed=s).ids for s in range(8)}) > 1
    assert set(draw(images, 2).ids) < set(draw(images, 5).ids)


def test_what_is_skipped_is_what_a_draw_of_that_number_of_takes(images):
    first, rest = draw(images, 2, "label"), draw(images, 99, "label", skip=2)
    assert sorted((*first.ids, *rest.ids)) == sorted(images.ids)
    again = load_images(
        images, selection=SelectionSpec(sample=99, sample_each="label", sample_skip=2)
    )
    assert again.ids == rest.ids
    with pytest.raises(DataError, match="Nothing is left of 8 images after the first 8"):
        draw(images, 1, skip=8)


def test_others_do_not_change_a_contributors_draw(images):
    alone = images.subset([i for i, p in enumerate(PEOPLE) if p == "ada"])
    mine = draw(images, 2, "contributor")
    assert set(draw(alone, 2, "contributor").ids) <= set(mine.ids)


def test_load_images_draws_last(images, tmp_path):
    images.save(tmp_path / "data")
    part = load_images(
        tmp_path / "data",
        selection=SelectionSpec(sample=2, sample_each="contributor", sample_seed=3),
    )
    assert part.ids == draw(images, 2, "contributor", 3).ids
    assert load_images(images, selection=SelectionSpec(sample=2)).ids == draw(images, 2).ids


def test_what_cannot_be_drawn(images):
    with pytest.raises(SettingsError, match="sample must be at least 1"):
        draw(images, 0)
    with pytest.raises(SettingsError, match="Did you mean 'contributor'"):
        draw(images, 2, "contributer")
    with pytest.raises(SettingsError, match="Give sample, its size"):
        load_images(images, selection=SelectionSpec(sample_each="label"))
    unknown = ImageSet.from_images(images.array(), contributors=[None, *PEOPLE[1:]])
    with pytest.raises(DataError, match="1 of 8 images have no contributor"):
        draw(unknown, 2, "contributor")
