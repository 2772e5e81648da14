"""Traces of a region of an image, and indexes of parts of training images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image

import creditline as cl
from creditline.benchmarks import benchmark, shipped_benchmark
from creditline.data.image_set import ImageSet
from creditline.data.mask import Mask
from creditline.errors import DataError, IndexMismatchError, SettingsError
from creditline.features.gradients import GradientExtractor
from creditline.runtime import Runtime

LEFT, RIGHT = (0, 0, 0.5, 1), (0.5, 0, 1, 1)
PAINTED = np.repeat([[255, 255, 0, 0]], 4, axis=0).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["trak", "gradient-dot"])
def test_scores_of_the_parts_add_up_to_those_of_the_image(build, tiny_images, method):
    index, queries = build(method=method), tiny_images.subset([3, 7])
    complete, left, right = (
        index.scores(index.extract(queries, region=region)) for region in (None, LEFT, RIGHT)
    )
    assert_allclose(left + right, complete, rtol=0, atol=1e-5 * np.abs(complete).max())
    assert np.abs(left - complete / 2).max() > 1e-2 * np.abs(complete).max()


@pytest.mark.slow
def test_every_way_to_say_a_region_is_the_same(build, tiny_images, tmp_path):
    index, query = build(), tiny_images.subset([3])
    Image.fromarray(PAINTED).save(tmp_path / "mask.png")
    expected = index.scores(index.extract(query, region=LEFT))
    masked = query.with_masks([Mask.from_box(LEFT, (8, 8))])
    for result in (
        index.scores(masked),
        *(
            index.scores(index.extract(query, region=region))
            for region in (
                tmp_path / "mask.png",
                str(tmp_path / "mask.png"),
                Image.fromarray(PAINTED),
                PAINTED,
                PAINTED > 0,
                torch.from_numpy(PAINTED),
                np.array(LEFT),
                [LEFT],
            )
        ),
    ):
        assert np.array_equal(result, expected)
    everything = index.scores(index.extract(query, region=(0, 0, 1, 1)))
    assert np.array_equal(everything, index.scores(query))


@pytest.mark.slow
def test_a_trace_records_its_region_and_a_search_agrees(build, tiny_images, tmp_path):
    index, queries = build(), tiny_images.subset([3, 3, 3])
    result = index.trace(queries, top=4, region=[LEFT, None, PAINTED])
    one, complete, again = result
    assert complete.region is None
    assert one.region.share == 0.5
    assert again.region == one.region
    scores = [[hit.score for hit in query.proponents] for query in result]
    assert scores[2] == pytest.approx(scores[0], rel=1e-4)
    assert scores[1] != pytest.approx(scores[0], rel=1e-2)
    assert cl.Trace.from_json(result.to_json(tmp_path / "trace.json")) == result
    column = result.to_pandas().groupby("query")["region"].first()
    assert column.dropna().to_dict() == {0: one.region.id, 2: one.region.id}
    assert "region" not in index.trace(queries, top=1).to_pandas()
    searched = index.search(queries, top=3, region=[LEFT, None, PAINTED])
    rows = [[hit.row for hit in query.proponents[:3]] for query in result]
    assert [list(r[: len(x)]) for r, x in zip(searched.rows, rows, strict=True)] == rows
    assert searched.scores[0, 0] == pytest.approx(one.proponents[0].score, rel=1e-5)


@pytest.mark.slow
def test_a_cosine_knows_no_lengths(build, tiny_images):
    index = build(method="gradient-cosine", shared_noise=True)
    query = tiny_images.subset([3])
    source, features = (
        index._engine.resources.extractor(index.method),
        index.extract(query, region=LEFT),
    )
    one = source.extract(features.queries.images, [0], "query")[0, 0, 0]
    rows = index.features()
    cosines = rows @ one / np.linalg.norm(rows, axis=1) / np.linalg.norm(one)
    assert_allclose(index.scores(features)[0], cosines, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("region", "said"),
    [
        ((0, 0, 16, 16), "fractions"),
        ((0.5, 0, 0.5, 1), "empty"),
        (PAINTED * 0, "black all over"),
        (PAINTED[:2], "another aspect"),
        ([LEFT, RIGHT, LEFT], "2 query images need one region, or 2; got 3"),
        ([], "got 0"),
        ({"left": 0, "right": 1}, "is of another type"),
        ("gone.png", "does not exist"),
        (PAINTED - 300.0, "negative"),
    ],
)
def test_wrong_regions_are_refused_before_any_work(build, tiny_images, region, said, monkeypatch):
    index = build()
    monkeypatch.setattr(GradientExtractor, "extract", lambda *a, **k: pytest.fail("extracted"))
    with pytest.raises(DataError, match=said):
        index.trace(tiny_images.subset([1, 2]), region=region)


@pytest.mark.slow
def test_regions_are_given_once_and_to_images(build, tiny_images):
    index, query = build(), tiny_images.subset([3])
    with pytest.raises(DataError, match="not both"):
        index.extract(query.with_masks([Mask.from_box(LEFT, (8, 8))]), region=LEFT)
    with pytest.raises(SettingsError, match="extracted already"):
        index.trace(index.extract(query), region=LEFT)


def test_similarity_has_no_regions(tiny_images, tmp_path):
    index = cl.index(None, tiny_images, method="pixel-dot", out=tmp_path / "pixels")
    with pytest.raises(SettingsError, match="cannot score a region of a query image"):
        index.trace(tiny_images.subset([1]), region=LEFT)


@pytest.mark.slow
def test_masks_of_training_images_are_part_of_the_request(build, tiny_images):
    mask = Mask.from_box(LEFT, (8, 8))
    masked = tiny_images.with_masks([mask, *[None] * 11])
    complete, index = build("complete"), build("masked", images=masked)
    a, b = complete.features(), index.features()
    assert np.array_equal(a[4:], b[4:]), "shards without a mask"
    assert np.abs(a[0] - b[0]).max() > 1e-2 * np.abs(a[0]).max()
    assert index.manifest.request["images"]["masks"]
    assert "masks" not in complete.manifest.request["images"]
    with pytest.raises(IndexMismatchError, match="masks"):
        build("masked")
    assert build("masked", images=masked).digest() == index.digest()
    with pytest.raises(DataError, match="have masks, and these come without"):
        index.add(tiny_images.subset([1]))


@pytest.mark.slow
def test_masked_images_are_added_and_removed(build, tiny_images):
    masks = [Mask.from_box((0, 0, (i + 1) / 12, 1), (8, 8)) for i in range(12)]
    masked = tiny_images.with_masks(masks)
    index = build("part", images=masked.subset(range(8)))
    index = index.add(masked.subset(range(8, 12)))
    fresh = build("all", images=masked)
    assert index.digest() == fresh.digest()
    assert index.manifest.request == fresh.manifest.request
    index = index.remove([0, 5])
    left = build("left", images=masked.subset([1, 2, 3, 4, *range(6, 12)]))
    assert index.manifest.request == left.manifest.request


@pytest.mark.slow
def test_an_interrupted_masked_index_continues_to_the_same_one(build, tiny_images, monkeypatch):
    masked = tiny_images.with_masks([Mask.from_box(LEFT, (8, 8))] * 12)
    expected, extract, calls = (
        build("complete", images=masked).digest(),
        GradientExtractor.extract,
        [],
    )

    def interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return extract(self, *args, **kwargs)

    monkeypatch.setattr(GradientExtractor, "extract", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build("part", images=masked, runtime=Runtime(workers=1))
    assert build("part", images=masked, runtime=Runtime(workers=1)).digest() == expected


@pytest.mark.slow
def test_a_hidden_half_takes_its_icon_from_the_top(tmp_path):
    """Two icons side by side, under a model that was trained on both of them."""
    icons = shipped_benchmark.find(benchmark.get("icons"))
    images = icons.images()[0].subset(range(0, 200, 5))
    a, b = 7, 3
    pixels = images.array([a, b])
    image = ImageSet.from_images(np.concatenate([pixels[:1, :, :8], pixels[1:, :, 8:]], axis=2))
    settings = {"timesteps": 4, "query_draws": 4}
    index = cl.index(str(icons.model), images, method="trak", out=tmp_path / "index", **settings)

    def top(region, count=1):
        (rows,) = index.search(image, top=count, region=region).rows
        return set(rows)

    assert {a, b} <= top(None, 5)
    assert top(LEFT) == {a}
    assert top(RIGHT) == {b}
    assert b not in top(LEFT, 20)
    assert a not in top(RIGHT, 20)
