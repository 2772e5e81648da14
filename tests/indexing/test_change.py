"""Images that are added or removed: as if the index had been built from the remaining ones."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tests.indexing.conftest import SETTINGS
from tests.processes import holder, tree

import creditline as cl
from creditline.data.image_set import ImageSet
from creditline.errors import DataError, IndexMismatchError, LockedError, SettingsError
from creditline.features.gradients import GradientExtractor
from creditline.indexing import change, spectra
from creditline.indexing.store import Store
from creditline.manifest import Manifest
from creditline.notice import Notice


@pytest.fixture
def build(build):
    """One image a pass: how its feature rounds may depend on its neighbors in one."""
    return partial(build, batch_size=SETTINGS["timesteps"])


@pytest.fixture
def parts(tiny_images):
    return tiny_images.subset(range(8)), tiny_images.subset(range(8, 12))


@pytest.fixture(autouse=True)
def no_refit(monkeypatch, request):
    """Fails a fit of what could be updated, once a test has asked for it."""

    def forbid():
        monkeypatch.setattr(spectra.Spectrum, "fit", lambda *a, **k: pytest.fail("a refit"))

    return forbid


def same(index, fresh, queries, monkeypatch_undo=None) -> None:
    assert index.digest() == fresh.digest()
    assert index.manifest.request == fresh.manifest.request
    assert index.manifest.facts["duplicates"] == fresh.manifest.facts["duplicates"]
    assert (index.n, len(index)) == (fresh.n, fresh.n)
    features = fresh.extract(queries)
    expected = fresh.scores(features)
    assert_allclose(index.scores(features), expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())
    assert_allclose(index.self_influence(), fresh.self_influence(), rtol=1e-8)
    error = fresh.noise(features).error
    assert_allclose(index.noise(features).error, error, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dim", [4, 128])
def test_added_images_make_the_index_of_all(build, parts, tiny_images, dim, no_refit):
    index, fresh = build("part", images=parts[0], dim=dim), build("whole", dim=dim)
    index.trace(tiny_images, top=2)  # something to be updated
    fresh.trace(tiny_images, top=2)
    index = index.add(parts[1])
    no_refit()
    same(index, fresh, tiny_images)
    assert index.manifest.facts["changes"][0]["added"] == 4
    again = cl.open_index(index.path, model=index._engine.resources.models())
    same(again, fresh, tiny_images)


@pytest.mark.slow
@pytest.mark.parametrize("purge", [False, True])
@pytest.mark.parametrize("dim", [4, 128])
def test_removed_images_leave_the_index_of_the_rest(build, tiny_images, dim, purge, no_refit):
    rest = [0, 1, 3, 4, 6, 7, 8, 9, 10, 11]
    index, fresh = build("part", dim=dim), build("rest", images=tiny_images.subset(rest), dim=dim)
    index.trace(tiny_images, top=2)
    fresh.trace(tiny_images, top=2)
    index = index.remove(["00002.png", 5], purge=purge)
    no_refit()
    same(index, fresh, tiny_images)
    hits = index.trace(tiny_images.subset([0]), top=12)[0]
    thumbnails = {hit.name: hit.image for hit in (*hits.proponents, *hits.opponents)}
    others = fresh.trace(tiny_images.subset([0]), top=12)[0]
    assert thumbnails == {hit.name: hit.image for hit in (*others.proponents, *others.opponents)}
    assert index.manifest.facts["changes"][0]["removed"] == 2


@pytest.mark.slow
def test_purged_images_are_in_no_file(build, tiny_images):
    index = build()
    index.trace(tiny_images, top=2)
    thumbnail = index.store.thumbnails([5])[0]
    pixels = thumbnail[thumbnail.index(b"IDAT") : thumbnail.index(b"IEND") - 8]

    def files_with(data: bytes) -> int:
        return sum(data in path.read_bytes() for path in index.path.rglob("*") if path.is_file())

    assert files_with(pixels) == 1
    index = index.remove([2])
    assert files_with(pixels) == 1, "another image stays"
    index = index.remove(["00005.png"])
    assert files_with(pixels) == 1, "removed from the table, and still in the file"
    index = index.add(tiny_images.subset([2]))
    index = index.remove(["00006.png"], purge=True)
    assert files_with(pixels) == 0


@pytest.mark.slow
def test_many_changes(build, tiny_images, no_refit):
    index, fresh = build("busy"), build("fresh")
    index.trace(tiny_images, top=2)
    fresh.trace(tiny_images, top=2)
    no_refit()
    for _ in range(4):
        index = index.remove([9, 10, 11])
        index = index.add(tiny_images.subset([9, 10, 11]))
    same(index, fresh, tiny_images)
    assert len(index.manifest.facts["changes"]) == 8
    assert len(list(index.path.glob("fitted/*"))) == 1, (
        "results do not outlive the images that they were fitted to"
    )


@pytest.mark.slow
def test_several_models_and_methods_without_centering(build, parts, tiny_images, tiny_model):
    import copy

    other = type(tiny_model)(copy.deepcopy(tiny_model.module), tiny_model.process)
    other.module.conv_in.weight.data *= 1.5
    pair = [tiny_model, other]
    index, fresh = build("part", images=parts[0], model=pair), build("whole", model=pair)
    index.using(center=False).trace(tiny_images, top=2)
    index = index.add(parts[1])
    for changes in ({"center": False}, {"damping": 0.1}, {"method": "relative-if"}):
        same(index.using(**changes), fresh.using(**changes), tiny_images)


@pytest.mark.slow
def test_the_command_that_builds_all_images_reports_it_complete(
    build, parts, tiny_images, monkeypatch
):
    build("grown", images=parts[0]).add(parts[1])
    monkeypatch.setattr(
        GradientExtractor, "extract", lambda *a, **k: pytest.fail("no work expected")
    )
    assert build("grown").n == 12
    with pytest.raises(IndexMismatchError, match="n: 12 on disk, 8 asked for"):
        build("grown", images=parts[0])


@pytest.mark.slow
def test_an_interrupted_addition_changes_nothing_and_continues(
    build, parts, tiny_images, monkeypatch
):
    index, fresh = build("part", images=parts[0], shard_rows=1), build("whole", shard_rows=1)
    before = index.scores(tiny_images)
    calls, extract = [], GradientExtractor.extract

    def interrupted(self, images, indices, role="train", *args, **kwargs):
        if role == "train":
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
        return extract(self, images, indices, role, *args, **kwargs)

    monkeypatch.setattr(GradientExtractor, "extract", interrupted)
    with pytest.raises(KeyboardInterrupt):
        index.add(parts[1])
    assert np.array_equal(
        cl.open_index(index.path, model=index._engine.resources.models()).scores(tiny_images),
        before,
    )
    index = index.add(parts[1])
    assert len(calls) == 3 + 2, "only what was not declared"
    assert index.digest() == fresh.digest()
    assert not list(index.path.glob("adding-*"))


@pytest.mark.slow
@pytest.mark.parametrize("step", ["add", "remove"])
def test_killed_before_the_manifest_nothing_has_happened(
    build, parts, tiny_images, step, monkeypatch
):
    index = build("part", images=parts[0])
    before, digest = index.scores(tiny_images), index.digest()

    def act():
        return index.add(parts[1]) if step == "add" else index.remove([0])

    write = Manifest.write
    monkeypatch.setattr(Manifest, "write", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        act()
    monkeypatch.setattr(Manifest, "write", write)
    index = cl.open_index(index.path, model=index._engine.resources.models())
    assert index.digest() == digest
    assert np.array_equal(index.scores(tiny_images), before)
    index = act()
    remaining = range(12) if step == "add" else range(1, 8)
    assert index.digest() == build("fresh", images=tiny_images.subset(remaining)).digest()


@pytest.mark.slow
def test_an_open_index_goes_on_reading_what_it_opened(build, tiny_images):
    index = build()
    before = index.scores(tiny_images)
    other = index.remove([0])
    assert (index.n, other.n) == (12, 11)
    assert np.array_equal(index.scores(tiny_images), before)


@pytest.mark.slow
def test_what_to_remove(build, tiny_images):
    pixels = np.concatenate([tiny_images.array(), tiny_images.array([3])])
    names = [*tiny_images.names[:11], "twice.png", "twice.png"]
    index = build(images=ImageSet.from_images(pixels, names=names))
    facts = index.store.facts()
    rows = change.find_rows(facts, [tiny_images.ids[3], "00001.png", 7, np.int64(7)])
    assert rows.tolist() == [1, 3, 7, 12], "an id is all images of these pixels"
    with pytest.raises(DataError, match=r"no image 'nobody\.png'"):
        index.remove(["nobody.png"])
    with pytest.raises(DataError, match=r"2 images of the index have the name 'twice\.png'"):
        index.remove(["twice.png"])
    for rows in ([13], [-1], []):
        with pytest.raises(SettingsError, match="from 0 to 12"):
            index.remove(rows)
    with pytest.raises(SettingsError, match="has to remain"):
        index.remove(range(13))
    assert index.n == 13


@pytest.mark.slow
def test_images_that_do_not_belong_are_refused(build, tiny_images, monkeypatch):
    index = build()
    digest = index.digest()
    with pytest.raises(DataError, match="Load them with the same settings"):
        index.add(ImageSet.from_images(np.zeros((1, 16, 16, 3), np.uint8)))
    named = ImageSet.from_images(tiny_images.array([0]), labels=[0], label_names=["cats"])
    with pytest.raises(DataError, match="called cats; those of the index have no names"):
        index.add(named)
    assert index.digest() == digest


@pytest.mark.slow
def test_a_removal_that_is_large_is_fitted_anew(build, tiny_images):
    index, fresh = build("part"), build("rest", images=tiny_images.subset(range(7, 12)))
    index.trace(tiny_images, top=2)
    index = index.remove(range(7))
    assert not list(index.path.glob("fitted/*"))
    same(index, fresh, tiny_images)


@pytest.mark.slow
def test_versions_that_no_manifest_named_are_undone(build, tiny_images):
    index = build()
    stray = Store(index.path, index.store.schema)
    stray.delete([1, 2])
    assert len(Store(index.path, index.store.schema)) == 10
    index = cl.open_index(index.path, model=index._engine.resources.models())
    assert len(index.store) == 12
    index = index.remove([0])
    assert len(Store(index.path, index.store.schema)) == 11


@pytest.mark.slow
def test_adding_again_adds_nothing(build, parts, tiny_images):
    index, fresh = build("part", images=parts[0]), build("whole")
    index = index.add(parts[1])
    with pytest.warns(Notice, match="4 of 4 images are in the index already"):
        index = index.add(parts[1])
    assert index.n == 12
    with pytest.warns(Notice, match="12 of 12 images"):
        index = index.add(tiny_images)
    assert index.digest() == fresh.digest()
    assert len(index.manifest.facts["changes"]) == 1


@pytest.mark.slow
def test_equal_pixels_of_another_name_are_added(build, parts):
    index = build("part", images=parts[0])
    copy = ImageSet.from_images(parts[0].array([0, 1]), names=["copy.png", parts[0].names[1]])
    with pytest.warns(Notice, match="1 of 2 images"):
        index = index.add(copy)
    assert index.n == 9
    assert index.manifest.facts["duplicates"] == [[0, 8]]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change_it", [lambda i: i.remove([1]), lambda i: i.remove([1], purge=True)]
)
def test_a_change_of_what_another_has_changed_is_refused(build, parts, change_it):
    index = build("part", images=parts[0])
    other = cl.open_index(index.path, model=index._engine.resources.models())
    other = change_it(other)
    digest = other.digest()
    for act in (lambda: index.remove([0]), lambda: index.add(parts[1])):
        with pytest.raises(IndexMismatchError, match="changed by another process since it was"):
            act()
    assert other.digest() == digest
    assert other.add(parts[1]).n == 11


@pytest.mark.slow
def test_while_one_process_changes_an_index_no_other_does(build, parts, tiny_images):
    index = build("part", images=parts[0])
    scores = index.scores(tiny_images)
    before = tree(index.path)
    with holder(index.path) as pid:
        for act in (lambda: index.remove([0]), lambda: index.add(parts[1])):
            with pytest.raises(LockedError, match=f"process {pid}"):
                act()
        assert tree(index.path) == before
        assert np.array_equal(index.scores(tiny_images), scores), "readers do not wait"
        assert build("part", images=parts[0]).n == 8, "complete, so there is nothing to write"
    assert index.remove([0]).n == 7, "taken over from the process that was killed"


@pytest.mark.slow
def test_an_abandoned_addition_is_not_mixed_with_a_later_one(
    build, parts, tiny_images, monkeypatch
):
    """Its shards are declared for the table as it was, and their files go with the next commit."""
    index = build("part", images=parts[0], shard_rows=1)
    write = Manifest.write
    monkeypatch.setattr(Manifest, "write", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        index.add(parts[1])
    monkeypatch.setattr(Manifest, "write", write)
    assert list(index.path.glob("adding-*"))
    index = index.remove([7])
    assert not list(index.path.glob("adding-*"))
    index = index.add(tiny_images.subset([7])).add(parts[1])
    assert index.digest() == build("whole", shard_rows=1).digest()
