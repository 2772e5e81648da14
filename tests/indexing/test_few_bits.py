"""Indexes of few-bit features: smaller, nearly as exact, searched and changed like any other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import creditline as cl
from creditline.errors import SettingsError
from creditline.indexing import build as building

SETTINGS = {
    "method": "gradient-dot",
    "timesteps": 4,
    "projection": "count-sketch",
    "dim": 512,
    "shard_rows": 5,
}


def build(model, images, out, **changes):
    return cl.index(model, images, out=out, **{**SETTINGS, **changes})


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "least"), [(8, 0.999), (4, 0.98), (2, 0.9), (1, 0.7)])
def test_scores_are_nearly_those_of_half_precision(tiny_model, tiny_images, tmp_path, bits, least):
    exact = build(tiny_model, tiny_images, tmp_path / "exact").scores(tiny_images)
    coded = build(tiny_model, tiny_images, tmp_path / "coded", bits=bits).scores(tiny_images)
    assert np.corrcoef(exact.ravel(), coded.ravel())[0, 1] > least


@pytest.mark.slow
def test_a_feature_takes_its_bits(tiny_model, tiny_images, tmp_path):
    index = build(tiny_model, tiny_images, tmp_path / "index", bits=1)
    (columns, _) = (index.store.schema.columns(kind, 0)[0] for kind in ("feature", "error"))
    assert columns.row_bytes == 512 / 8 + 16
    assert index.store.schema.feature_bytes == 2 * columns.row_bytes
    index.trace(tiny_images.subset([0]))
    assert not list((tmp_path / "index").glob("fitted/*/factors-*"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gradient-dot", "gradient-cosine", "trak", "relative-if"])
def test_scores_are_those_of_the_decoded_features(tiny_model, tiny_images, tmp_path, name):
    index = build(tiny_model, tiny_images, tmp_path / "index", method=name, bits=4)
    features = index.extract(tiny_images)
    rows = np.concatenate([rows for _, rows in index.chunks(0)])
    context = cl.methods.FitContext(features=rows)
    expected = cl.methods.get(name)().fit(context).attribute(features.values[:, 0])
    if name == "gradient-cosine":  # norms are those before coding
        norms = np.linalg.norm(rows, axis=1) / index.table.norms(0)
        expected = expected * norms
    assert_allclose(index.scores(features), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_features_of_few_dimensions_are_coded(tiny_model, tiny_images, tmp_path):
    index = build(tiny_model, tiny_images, tmp_path / "index", bits=8, dim=4)
    exact = build(tiny_model, tiny_images, tmp_path / "exact", dim=4)
    scores = [one.scores(tiny_images).ravel() for one in (index, exact)]
    assert np.corrcoef(*scores)[0, 1] > 0.99


@pytest.mark.slow
def test_search_returns_the_top_of_all_scores(tiny_model, tiny_images, tmp_path):
    index = build(tiny_model, tiny_images, tmp_path / "index", bits=2)
    queries = tiny_images.subset([1, 7])
    scores = index.scores(queries)
    result = index.search(queries, top=4)
    assert np.array_equal(result.rows, np.argsort(-scores, axis=1)[:, :4])
    worst = index.search(queries, top=2, opponents=True)
    assert np.array_equal(worst.rows, np.argsort(scores, axis=1)[:, :2])
    with pytest.raises(SettingsError, match="Search exactly"):
        index.search(queries, approximate=True)


@pytest.mark.slow
def test_images_are_added_and_removed(tiny_model, tiny_images, tmp_path):
    complete = build(tiny_model, tiny_images, tmp_path / "complete", bits=1)
    part = build(tiny_model, tiny_images.subset(range(9)), tmp_path / "part", bits=1)
    grown = part.add(tiny_images.subset([9, 10, 11]))
    assert_allclose(grown.scores(tiny_images), complete.scores(tiny_images), rtol=1e-5)
    shrunk = grown.remove([0, 4])
    rest = [i for i in range(12) if i not in (0, 4)]
    assert_allclose(shrunk.scores(tiny_images), complete.scores(tiny_images)[:, rest], rtol=1e-5)


@pytest.mark.slow
def test_scores_have_errors(tiny_model, tiny_images, tmp_path):
    index = build(tiny_model, tiny_images, tmp_path / "index", bits=1)
    for name in ("gradient-dot", "gradient-cosine"):
        hits = index.using(name).trace(tiny_images.subset([0])).queries[0].proponents
        assert all(np.isfinite(hit.error) and hit.error > 0 for hit in hits)


@pytest.mark.slow
def test_an_interrupted_build_ends_in_the_same_index(
    tiny_model, tiny_images, tmp_path, monkeypatch
):
    settings = {"method": "ekfac", "preconditioner_draws": 24, "bits": 1}
    complete = build(tiny_model, tiny_images, tmp_path / "complete", **settings)
    calls = iter(range(100))

    def stop(store, *args):
        if next(calls) == 1:
            raise KeyboardInterrupt
        return write(store, *args)

    write = building.Store.write_shard
    with monkeypatch.context() as patch:
        patch.setattr(building.Store, "write_shard", stop)
        with pytest.raises(KeyboardInterrupt):
            build(tiny_model, tiny_images, tmp_path / "part", **settings)
    again = build(tiny_model, tiny_images, tmp_path / "part", **settings)
    assert again.digest() == complete.digest()
    assert not (tmp_path / "part" / "curvature").exists()


def test_bits_and_dimensions_that_do_not_fit_are_refused(tiny_model, tiny_images, tmp_path):
    with pytest.raises(SettingsError, match="one of 16, 8, 4, 2, 1; got 3"):
        build(tiny_model, tiny_images, tmp_path / "index", bits=3)
    with pytest.raises(SettingsError, match="multiple of 8"):
        build(tiny_model, tiny_images, tmp_path / "index", bits=1, dim=60)
    assert not (tmp_path / "index").exists()
