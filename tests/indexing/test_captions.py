"""An index of images with several captions: changes keep it the index of its images."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tests.tiny_pipelines import make, random_images

import creditline as cl
from creditline.data.captions import read_captions
from creditline.data.image_set import ImageSet
from creditline.diffusion.load import load_model
from creditline.errors import DataError
from creditline.indexing.queries import gather

CAPTIONS = [("a red cat", "a cat"), None, ("a house", "a small house", "two boats"), *[None] * 3]
pytestmark = pytest.mark.slow


@pytest.fixture
def model():
    return load_model(make("sd"))


@pytest.fixture
def images():
    return random_images(6).with_captions(CAPTIONS)


@pytest.fixture
def build(model, tmp_path):
    """Builds an index with a pass for each image; rows of a pass may differ by rounding."""

    def build_index(name, images, **settings):
        every = {"method": "trak", "timesteps": 4, "dim": 64, "batch_size": 4, **settings}
        return cl.index(model, images, out=tmp_path / name, **every)

    return build_index


def test_added_and_removed_images_keep_their_captions(build, model, images):
    fresh = build("fresh", images)
    assert fresh.manifest.request["images"]["fingerprint"] == images.fingerprint
    assert read_captions(fresh.store.facts()["captions"]) == images.captions
    index = build("part", images.subset(range(2))).add(images.subset(range(2, 6)))
    assert index.digest() == fresh.digest()
    assert index.manifest.request == fresh.manifest.request
    rest = images.subset([1, 2, 3, 4, 5])
    index = cl.open_index(index.path, model=model).remove([0])
    assert index.manifest.request == build("rest", rest).manifest.request
    assert index.manifest.request["images"]["fingerprint"] == rest.fingerprint


def test_a_query_is_traced_by_all_its_captions(build, images):
    """Each evaluation has one caption in one order, and the other in the other order."""
    index, query, (a, b) = build("index", images), images.subset([0]), CAPTIONS[0]
    trace = index.trace(query, top=6)[0]
    assert trace.text == a
    assert {hit.text for hit in (*trace.proponents, *trace.opponents)} <= set(images.texts)
    swapped = query.captioned([b], None).with_captions([(b, a)])
    first, second, one, other = (
        index.scores(x)
        for x in (query, swapped, query.with_captions(None), query.captioned([b], None))
    )
    assert_allclose(first + second, one + other, rtol=0, atol=1e-4 * np.abs(one).max())
    assert np.abs(first - one).max() > 1e-3 * np.abs(one).max()


def test_captions_decide_the_features_of_their_image_alone(build, images):
    several, first = build("several", images), build("first", images.with_captions(None))
    differ = (several.features() != first.features()).any(1)
    assert differ.tolist() == [x is not None for x in CAPTIONS]
    assert "captions" not in first.manifest.request["images"]
    assert "captions" not in first.store.facts()


def test_methods_that_load_training_images_again_see_all_captions(build, images):
    from creditline.indexing.training_images import load_training_images

    index = build("index", images)
    again = load_training_images(index.manifest, index.store.facts(), random_images(6))
    assert (again.captions, again.fingerprint) == (images.captions, images.fingerprint)


@pytest.mark.parametrize("is_first", [True, False])
def test_images_with_other_numbers_of_captions_are_not_added(build, images, is_first):
    one, all_of = images.with_captions(None), images
    base, more = (one, all_of) if is_first else (all_of, one)
    index = build("index", base.subset([0, 1, 2]))
    with pytest.raises(DataError, match=r"Load both the same way \(captions=, --captions\)"):
        index.add(more.subset([3, 4]))


def test_a_folder_of_queries_has_all_captions_if_the_index_has(build, images, tmp_path):
    folder, rows = images.save(tmp_path / "queries"), [0, 2]
    index = build("index", images)
    expected = index.scores(images)[rows]
    assert np.array_equal(index.scores(folder)[rows], expected)
    other = index.scores(index.extract(folder, prompts=list(images.texts)))
    assert not np.array_equal(other[rows], expected)
    first = build("first", images.with_captions(None))
    with pytest.raises(DataError, match="captions in column 'text'"):
        first.scores(folder)


def test_prompts_of_queries_replace_all_captions(images):
    spec, shape = images.spec, images.shape
    assert gather(images, spec, shape, runs=False).images.captions == images.captions
    queries = gather(images, spec, shape, runs=False, prompts=list(images.texts)).images
    assert (queries.texts, queries.captions) == (images.texts, None)
    named = ImageSet.from_images(
        images.array(), texts=images.texts, labels=[0] * 6, label_names=["cat"]
    ).with_captions(CAPTIONS)
    renamed = gather(named, spec, shape, runs=False, classes=["boat", "cat"]).images
    assert np.array_equal(renamed.labels, [1] * 6)
    assert renamed.captions == tuple(CAPTIONS)
