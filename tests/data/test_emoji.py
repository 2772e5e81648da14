"""The demo's emoji, which ship."""

from __future__ import annotations

from collections import Counter

import pytest

from creditline.data import load_images
from creditline.data.emoji import FOLDER
from creditline.errors import CreditlineError


@pytest.fixture(scope="module")
def emoji():
    return {name: load_images(name) for name in ("demo:emoji", "demo:emoji/held-out")}


def test_every_set_has_as_many_training_images(emoji):
    train, held_out = emoji.values()
    assert train.shape == held_out.shape == (3, 24, 24)
    assert len(train) == 448
    assert set(Counter(train.contributors).values()) == {64}
    assert len(set(train.contributors)) == 7


def test_no_image_is_in_both_parts_or_twice(emoji):
    ids = [i for images in emoji.values() for i in images.ids]
    assert len(set(ids)) == len(ids)


def test_every_image_has_a_caption_and_a_kind(emoji):
    for images in emoji.values():
        assert all(images.texts)
        assert set(images.label_names) == {"animal", "creature", "face", "heart"}


def test_every_contributor_has_a_license(emoji):
    licenses = (FOLDER / "LICENSES.txt").read_text("utf-8")
    assert all(f"\n{name}: " in licenses for name in set(emoji["demo:emoji"].contributors))


def test_an_unknown_demo_names_the_known_ones():
    with pytest.raises(CreditlineError, match="demo:emoji"):
        load_images("demo:emojis")
