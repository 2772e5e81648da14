"""The self-retrieval check."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from creditline.data.image_set import ImageSet
from creditline.data.image_spec import ImageSpec
from creditline.errors import SettingsError
from creditline.evaluation.agreement import AgreementConfig
from creditline.evaluation.interval import wilson_interval
from creditline.evaluation.self_retrieval import (
    SelfRetrievalConfig,
    _largest_dim,
    _rank,
    add_near_duplicates,
    check_self_retrieval,
)
from creditline.methods import ekfac


def test_near_duplicates_are_near_and_not_equal(tiny_images):
    rows = np.array([2, 5])
    planted = add_near_duplicates(tiny_images, rows, 8, np.random.default_rng(0))
    assert len(planted) == len(tiny_images) + 2
    assert planted.ids[:12] == tiny_images.ids
    change = planted.array([12, 13]).astype(int) - tiny_images.array(rows).astype(int)
    assert 0 < np.abs(change).max() <= 8
    assert not set(planted.ids[12:]) & set(tiny_images.ids)
    assert planted.contributors[12] == tiny_images.contributors[2]


def test_prepared_images_are_not_prepared_again():
    """The images are cropped to 8x8 already; a second crop would fail or shrink them."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3), dtype=np.uint8)
    images = ImageSet.from_images(pixels, spec=ImageSpec(size=16, center_crop=8))
    planted = add_near_duplicates(images, np.array([1]), 8, np.random.default_rng(0))
    assert planted.ids[:4] == images.ids


def test_negative_settings_are_refused():
    with pytest.raises(SettingsError, match=r"noise must be in \[0, 255\]; got -1"):
        SelfRetrievalConfig(noise=-1)
    with pytest.raises(SettingsError, match="seed must not be negative; got -1"):
        SelfRetrievalConfig(seed=-1)
    with pytest.raises(SettingsError, match="seed must not be negative; got -1"):
        AgreementConfig(seed=-1)


def test_ranks():
    """Two queries (rows 1 and 3 of four images), a near-duplicate of row 3 at row 4."""
    scores = np.array([[0.0, 9.0, 1.0, 2.0, 3.0], [7.0, 8.0, 1.0, 5.0, 6.0]])
    result = _rank("TRAK", scores, np.array([1, 3]), np.array([3]), 4, list("abcde"))
    assert (result.first, result.queries) == (1, 2)
    assert result.duplicate_ranks == (3,)
    assert result.duplicates_in_top_3 == 1


@pytest.mark.slow
def test_runs_on_a_model(small_model, tiny_images, tmp_path):
    settings = SelfRetrievalConfig(queries=4, duplicates=2, timesteps=2, dim=64)
    results = check_self_retrieval(small_model, tiny_images, tmp_path, settings)
    titles = [result.method for result in results]
    assert {"TRAK", "D-TRAK", "Relative IF", "Gradient (cosine)"} <= set(titles)
    assert not {"Journey-TRAK", "TracInCP"} & set(titles)
    indexes = {folder.name for folder in tmp_path.iterdir() if folder.is_dir()}
    # Methods share an index where they can.
    assert len(indexes) == len(
        {"trak", "d-trak", "das", "ekfac", "kfac", "diag-fisher", "combined", "learned-weights"}
    )
    assert all(r.queries == 4 and len(r.duplicate_ranks) == 2 for r in results)
    with pytest.raises(SettingsError, match="12 training images"):
        check_self_retrieval(small_model, tiny_images, tmp_path, SelfRetrievalConfig())


def test_a_small_model_has_as_many_dimensions_as_it_can(tiny_model):
    spec = ekfac.EKFACInfluence().features
    size = sum(p.numel() for p in tiny_model.module.parameters())
    dim = _largest_dim(spec, tiny_model)
    assert dim == 2 ** int(np.log2(size - 1)) < min(size, spec.projection.dim)
    few = replace(spec, projection=replace(spec.projection, dim=64))
    assert _largest_dim(few, tiny_model) == 64


def test_wilson_interval():
    low, high = wilson_interval(200, 200)
    assert high == pytest.approx(1.0)
    assert 0.98 < low < 0.982  # z^2 / (n + z^2) below one
    low, high = wilson_interval(50, 100)
    assert low == pytest.approx(1 - high)
    with pytest.raises(SettingsError):
        wilson_interval(3, 2)


@pytest.mark.slow
def test_named_methods_alone_are_checked(small_model, tiny_images, tmp_path):
    settings = SelfRetrievalConfig(("combined",), queries=4, duplicates=2, timesteps=2, dim=64)
    (result,) = check_self_retrieval(small_model, tiny_images, tmp_path, settings)
    assert (result.method, result.queries) == ("EK-FAC + D-TRAK", 4)


@pytest.mark.parametrize("name", ["pixel-dot", "tracin", "journey-trak"])
def test_methods_of_another_kind_are_refused(small_model, tiny_images, tmp_path, name):
    settings = SelfRetrievalConfig((name,), queries=4, duplicates=2)
    with pytest.raises(SettingsError, match="gradient methods of one trained model"):
        check_self_retrieval(small_model, tiny_images, tmp_path, settings)
