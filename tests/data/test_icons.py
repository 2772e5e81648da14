from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from importlib import metadata
from types import SimpleNamespace

import numpy as np
import pytest

from creditline.data import load_images
from creditline.data.icons import PACKS, PIP_COMMAND, caption, list_icons
from creditline.data.image_spec import ImageSpec
from creditline.data.metadata_spec import MetadataSpec
from creditline.data.selection import SelectionSpec
from creditline.errors import DataError, SettingsError


def installed() -> bool:
    names = {(result.metadata["Name"] or "").lower() for result in metadata.distributions()}
    return all(pack.package.lower() in names for pack in PACKS)


icons_present = pytest.mark.skipif(not installed(), reason=f"needs {PIP_COMMAND}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("apps/mail--plus", "mail plus"),
        ("14_layer_newlayer", "14 layer newlayer"),
        ("All software is current", "All software is current"),
        ("arrow-315", "arrow 315"),
    ],
)
def test_captions(name, text):
    assert caption(name) == text


def test_missing_package_says_how_to_install(monkeypatch):
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(
        DataError, match=r"crystal-small is not installed(.|\n)*pip install"
    ) as error:
        load_images("demo:icons")
    assert all(f"{pack.package}==" in str(error.value) for pack in PACKS)


def test_unknown_demo():
    with pytest.raises(SettingsError, match="Did you mean 'demo:icons'"):
        load_images("demo:icon")


def test_blank_repeated_and_larger_tiles_are_dropped(write, noise, monkeypatch):
    """The packages stand in as folders, so that this runs without them."""
    first, second = (noise(16, 16, 3, seed=seed) for seed in (1, 2))
    clear = np.zeros((16, 16, 4), np.uint8)
    clear[:, :8, 0] = 255  # two colors, but both are transparent
    site = write(
        {
            f"{PACKS[0].folder}/apps/z_first.png": first,
            f"{PACKS[0].folder}/apps/white.png": np.full((16, 16, 3), 255, np.uint8),
            f"{PACKS[0].folder}/apps/clear.png": clear,
            f"{PACKS[0].folder}/apps/large.png": noise(22, 22, 3),
            f"{PACKS[1].folder}/a_first_again.png": first,
            f"{PACKS[1].folder}/second.png": second,
            f"{PACKS[2].folder}/{PACKS[2].sprite}.png": np.hstack([second, 255 - first]),
            f"{PACKS[2].folder}/{PACKS[2].sprite}.json": '{"b--new": [16, 0], "a": [0, 0]}',
            f"{PACKS[3].folder}/places/other.png": 255 - second,
        }
    )
    result = SimpleNamespace(locate_file=lambda path: site / path, version="1")
    monkeypatch.setattr(metadata, "distribution", lambda name: result)
    images = load_images("demo:icons")
    assert images.names == (
        "crystal/apps/z_first.png",
        "silk/second.png",
        "fugue/b--new.png",
        "tango/places/other.png",
    )
    assert images.contributors == tuple(pack.contributor for pack in PACKS)
    assert images.texts == ("z first", "second", "b new", "other")
    np.testing.assert_array_equal(images.array([2])[0], 255 - first)


@icons_present
def test_package_with_other_contents():
    with pytest.raises(DataError, match=r"crystal-small \S+ has no elsewhere"):
        list(replace(PACKS[0], folder="elsewhere").tiles())


@pytest.mark.slow
@icons_present
def test_icons_of_four_artists():
    before = set(sys.modules)
    images = load_images("demo:icons")

    assert images.shape == (3, 16, 16)
    assert images.duplicates() == ()
    assert len(set(images.names)) == len(images)
    assert all(images.texts)
    flat = images.array().reshape(len(images), -1, 3)
    assert (flat != flat[:, :1]).any(axis=(1, 2)).all(), "a blank tile is left"
    assert Counter(images.contributors) == {
        "Everaldo Coelho": 1004,
        "Mark James": 1002,
        "Yusuke Kamiyamane": 3570,
        "Tango Desktop Project": 217,
    }
    assert set(images.columns) == {"license", "package"}
    assert set(zip(images.contributors, images.columns["package"], strict=True)) == {
        (pack.contributor, pack.package) for pack in PACKS
    }
    imported = {name.split(".")[0] for name in set(sys.modules) - before}
    assert not imported & {"flask", "flask_silk", "crystal_small", "fugue_icons", "wx_icons_tango"}


@pytest.mark.slow
@icons_present
def test_icons_follow_the_settings():
    small = load_images("demo:icons", selection=SelectionSpec(limit=5))
    large = load_images(
        "demo:icons",
        ImageSpec(size=32, resample="nearest"),
        metadata=MetadataSpec(label_column="contributor"),
        selection=SelectionSpec(limit=5),
    )
    doubled = small.array().repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(large.array(), doubled)
    assert large.label_names == tuple(sorted(pack.contributor for pack in PACKS))
    assert large.contributors == small.contributors


@pytest.mark.slow
@icons_present
def test_sprite_tiles_are_cut_where_the_index_says():
    listing = list_icons()
    at = list(listing.names).index("fugue/abacus.png")
    pack = next(pack for pack in PACKS if pack.sprite)
    tile = dict(pack.tiles())["abacus"]
    assert tile.size == (16, 16)
    assert listing.open_image(at).tobytes() == tile.tobytes()
    assert listing.columns["text"][at] == "abacus"
