"""A folder of a stranger changes nothing outside itself, runs no code and ends in clear errors.

Checksums are right everywhere: a stranger computes them too.
"""

from __future__ import annotations

import itertools
import random
import shutil

import pytest
from tests.mutate import time_limit
from tests.strangers import Cage, kinds, mutations, replace_value

NAMES = ("pixels", "gradients", "run", "images", "truth", "counterfactual", "trace")
PLACES = (
    "images.lance",
    "images.lance/data",
    "fitted",
    "fitted/CONTENT",
    "shards",
    "encoded",
    "manifest.json",
    "table-1.json",
    ".creditline-lock",
    ".creditline-holder",
    ".creditline-0-1-1-a",
    "further",
)
TARGETS = ("../../victim", "../../victim/secret.png", "missing", ".")


@pytest.fixture
def cage(tmp_path):
    return Cage(tmp_path)


@pytest.fixture
def make_kind(tiny_folder, tiny_images, tmp_path):
    (tmp_path / "intact").mkdir()
    return dict(kinds(tiny_folder, tiny_images, tmp_path / "intact"))


def try_all(kind, cage, choose):
    """Use a folder after each of some changes; how many were made and how many refused."""
    every = list(mutations(kind.folder, cage.victim))
    tried = refused = 0
    for path, keys, value in choose(every):
        cage.fill(kind.folder)
        replace_value(cage.folder / path, keys, value)
        with time_limit(f"{path} {keys} {value!r:.60}"):
            refused += cage.use(kind.uses) > 0
        tried += 1
    return tried, refused


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_hostile_values_are_refused_or_harmless(make_kind, cage, name):
    kind, rng = make_kind[name](), random.Random(0)
    number = {"gradients": 1, "pixels": 6}.get(name, 20)
    tried, refused = try_all(kind, cage, lambda every: rng.sample(every, number))
    assert tried == number
    assert refused > 0
    assert max(map(len, cage.messages)) <= 2000


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_many_hostile_values_are_refused_or_harmless(make_kind, cage, name, capsys):
    kind, rng = make_kind[name](), random.Random(1)
    number = {"gradients": 150, "pixels": 500}.get(name, 1000)
    tried, refused = try_all(kind, cage, lambda all_: rng.sample(all_, min(number, len(all_))))
    with capsys.disabled():
        print(f"\n{name}: {tried} tried, {refused} refused")


def link(folder, place, target):
    """Put a link in the place of a file or folder."""
    path = folder / place
    if path.name == "CONTENT":
        path = next(path.parent.iterdir())
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


@pytest.mark.long
def test_links_in_an_index_lead_nowhere(make_kind, tmp_path):
    kind = make_kind["pixels"]()
    for number, (place, target) in enumerate(itertools.product(PLACES, TARGETS)):
        (tmp_path / str(number)).mkdir()
        cage = Cage(tmp_path / str(number))
        cage.fill(kind.folder)
        link(cage.folder, place, target)
        with time_limit(f"{place} {target}"):
            cage.use(kind.uses)
