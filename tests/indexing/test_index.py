"""Opening, tracing, scoring: against scores computed by hand from the same features."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image
from tests.device import of_cpus
from tests.indexing.conftest import SETTINGS

import creditline as cl
from creditline.curvature.ridge import Ridge
from creditline.diffusion.generation import GenerateConfig
from creditline.errors import (
    CreditlineError,
    DataError,
    IndexMismatchError,
    SettingsError,
)
from creditline.features.gradients import GradientExtractor
from creditline.methods import FitContext, classes, get, gradient_method


def by_hand(index, model, images, method="trak"):
    """Textbook TRAK from stored training features and fresh query features."""
    source = GradientExtractor([model], index.method.features, index.method.query_plan)
    features = source.extract(images, range(len(images)), "query", reduction="halves")
    query = features[:, 0, 0].astype(np.float64)
    phi = index.features()
    a, b = phi - phi.mean(0), query - phi.mean(0)
    damping = index.method.ridge.damping * np.square(a).sum() / min(a.shape)
    return b @ np.linalg.solve(a.T @ a + damping * np.eye(a.shape[1]), a.T)


@pytest.mark.slow
def test_scores_are_the_formula(build, tiny_model, tiny_images):
    index = build()
    queries = tiny_images.subset([3, 7])
    assert_allclose(index.scores(queries), by_hand(index, tiny_model, queries), rtol=1e-6)


@pytest.mark.slow
def test_a_reopened_index_gives_the_same_scores(build, tiny_folder, tiny_images, tmp_path):
    index = build(model=tiny_folder)
    again = cl.open_index(index.path)
    assert np.array_equal(index.scores(tiny_images), again.scores(tiny_images))
    assert again.method == index.method


@pytest.mark.slow
@of_cpus  # to 9 digits: on a GPU kernels round by the size of a pass
def test_queries_do_not_influence_each_other(build, tiny_images):
    index = build(batch_size=SETTINGS["timesteps"])
    together = index.scores(tiny_images)
    alone = np.concatenate([index.scores(tiny_images.subset([i])) for i in range(12)])
    assert_allclose(together, alone, rtol=1e-9)


@pytest.mark.slow
def test_every_kind_of_query_is_the_same_image(build, tiny_images, tmp_path):
    index = build()
    image = tiny_images.image(5)
    image.save(tmp_path / "query.png")
    expected = index.scores(tiny_images.subset([5]))
    for query in (
        tmp_path / "query.png",
        str(tmp_path / "query.png"),
        [tmp_path / "query.png"],
        image,
        [image],
        np.asarray(image),
        np.asarray(image)[None],
        tiny_images.pixels([5]),
        tiny_images.pixels([5])[0],
    ):
        assert np.array_equal(index.scores(query), expected), type(query)


@pytest.mark.slow
def test_trace_ranks_by_score(build, tiny_images):
    index = build()
    queries = tiny_images.subset([0, 4])
    scores = index.scores(queries)
    trace = index.trace(queries, top=3)
    for row, query in zip(scores, trace, strict=True):
        order = np.argsort(-row, kind="stable")
        assert [h.row for h in query.proponents] == order[:3].tolist()
        assert [h.row for h in query.opponents] == order[::-1][:3].tolist()
        assert_allclose([h.score for h in query.proponents], row[order[:3]], rtol=1e-5)
        assert query.n_positive == (row > 0).sum()
        totals = {t.name: t for t in query.totals["contributor"]}
        for artist in range(3):
            mine = row[[i for i in range(12) if i % 3 == artist]]
            assert_allclose(totals[f"artist {artist}"].score, mine.sum(), rtol=1e-4)
        assert_allclose(sum(t.share for t in totals.values()), 1)
        assert {h.id for h in query.proponents} <= set(tiny_images.ids)
        assert Image.open(__import__("io").BytesIO(query.proponents[0].image)).size == (8, 8)


@pytest.mark.slow
def test_a_large_top_gives_all_and_the_sign_tells_the_ends_apart(build, tiny_images, tmp_path):
    index, queries = build(), tiny_images.subset([0])
    (query,), (scores,) = index.trace(queries, top=99), index.scores(queries)
    assert {h.row for h in query.proponents} == set(np.flatnonzero(scores > 0))
    assert {h.row for h in query.opponents} == set(np.flatnonzero(scores < 0))
    similarity = cl.index(None, tiny_images, method="pixel-cosine", out=tmp_path / "pixels")
    (query,) = similarity.trace(queries, top=99)
    assert len(query.proponents) == len(query.opponents) == 12, "no sign without a cause"


@pytest.mark.slow
def test_with_shared_noise_training_images_retrieve_themselves(build, tiny_images):
    """Query and index see the very same thing, so nothing can score higher than itself."""
    index = build(shared_noise=True, dim=1024)
    assert (index.scores(tiny_images).argmax(1) == np.arange(12)).all()
    assert_allclose(np.diag(index.scores(tiny_images)), index.self_influence(), rtol=2e-3)


@pytest.mark.slow
def test_self_influence_is_kept_and_positive(build, tiny_model, monkeypatch):
    index = build()
    first = index.self_influence()
    assert first.shape == (12,)
    assert (first > 0).all()
    monkeypatch.setattr(
        type(index.method), "self_influence", lambda self: pytest.fail("computed again")
    )
    assert np.array_equal(first, cl.open_index(index.path, model=tiny_model).self_influence())


@pytest.mark.slow
def test_methods_on_the_same_features_share_an_index(build, tiny_model, tiny_images):
    index = build()
    for name in ("gradient-dot", "gradient-cosine", "relative-if", "renormalized-if", "tracin"):
        scores = index.using(name).scores(tiny_images)
        method = get(name)().fit(FitContext(features=index.features()))
        source = GradientExtractor([tiny_model], index.method.features, index.method.query_plan)
        query = source.extract(tiny_images, range(12), "query", reduction="halves")[:, 0]
        assert_allclose(scores, method.attribute(query), rtol=1e-7, atol=1e-12)
        assert index.trace(tiny_images.subset([1]), method=name).method.name == name


@pytest.mark.slow
def test_damping_changes_without_extraction(build, tiny_images, monkeypatch):
    index = build()
    strong = index.using(ridge=Ridge(1e6)).scores(tiny_images)
    plain = index.using("gradient-dot").scores(tiny_images)
    phi = index.features()
    centered = plain - plain.mean(1, keepdims=True) - (phi.mean(0) @ (phi - phi.mean(0)).T)
    assert np.corrcoef(strong.ravel(), centered.ravel())[0, 1] > 0.9999


@pytest.mark.slow
def test_methods_that_need_other_features_are_refused(build):
    index = build()
    with pytest.raises(IndexMismatchError, match="square-norm"):
        index.using("d-trak")
    with pytest.raises(IndexMismatchError, match="pixels"):
        index.using("pixel-dot")
    spec = dataclasses.replace(index.method.features, parameters="*attn*")
    with pytest.raises(IndexMismatchError, match="other feature settings"):
        index.using(get("trak")(features=spec))
    with pytest.raises(SettingsError, match="Unknown setting 'rigde'"):
        index.using(rigde=Ridge())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [n for n, m in classes().items() if m.capabilities.features in ("pixels", "encoder")]
)
def test_similarity_indexes(build, tiny_images, name):
    def encoder(images):
        small = [np.asarray(p.resize((8, 8)), np.float32) for p in images]
        return np.stack(small).reshape(len(small), -1) - 128

    keyword = {"encoder": encoder} if name.startswith("encoder") else {}
    index = cl.index(None, tiny_images, method=name, out=build().path.parent / name, **keyword)
    scores = index.scores(tiny_images)
    if name.endswith("cosine"):
        assert_allclose(np.diag(scores), 1, rtol=1e-3)
    assert (scores.argmax(1) == np.arange(12)).all()
    assert not index.trace(tiny_images.subset([0])).method.causal


@pytest.mark.slow
def test_journey_follows_the_sampling_run(build, tiny_model, tmp_path):
    config = GenerateConfig(steps=5, trajectory=True)
    images = cl.generate(tiny_model, 3, tmp_path / "images", config)
    index = build()
    journey = index.using("journey-trak")
    scores = journey.scores(images)
    assert scores.shape == (3, 12)
    stepwise = index.using(get("journey-trak")(features=index.method.features, per_timestep=True))
    apart = stepwise.scores(images)
    assert apart.shape == (3, 5, 12)
    assert_allclose(apart.mean(1), scores, rtol=1e-4, atol=1e-6 * np.abs(scores).max())
    names = [q.name for q in stepwise.trace(images, top=2)]
    assert names[:2] == ["00000.png at t=800", "00000.png at t=600"]
    assert journey.trace(images)[0].details["seed"] == 0


@pytest.mark.slow
def test_journey_needs_a_sampling_run(build, tiny_model, tiny_images, tmp_path):
    images = cl.generate(tiny_model, 2, tmp_path / "images", GenerateConfig(steps=2))
    journey = build().using("journey-trak")
    for queries in (images, tiny_images):
        with pytest.raises(DataError, match="--trajectory"):
            journey.scores(queries)


@pytest.mark.slow
def test_a_complete_matrix_can_be_streamed_to_a_file(build, tiny_images, tmp_path):
    index = build()
    mapped = index.scores(tiny_images, out=tmp_path / "scores.npy")
    assert np.array_equal(np.load(tmp_path / "scores.npy"), index.scores(tiny_images))
    assert isinstance(mapped, np.memmap)


@pytest.mark.slow
def test_bad_queries(build, tmp_path):
    index = build()
    (tmp_path / "empty").mkdir()
    for query, error, match in [
        (tmp_path / "nowhere.png", DataError, "nowhere"),
        (tmp_path / "empty", DataError, "empty"),
        (Image.new("RGB", (9, 9)), DataError, "9x9"),
        (torch.zeros(1, 3, 16, 16), DataError, "16"),
        (torch.full((1, 3, 8, 8), 3.0), DataError, "3"),
    ]:
        with pytest.raises(error, match=match):
            index.trace(query)
    with pytest.raises(SettingsError, match="top"):
        index.trace(Image.new("RGB", (8, 8)), top=0)


@pytest.mark.slow
def test_not_an_index_unfinished_damaged(build, tmp_path):
    with pytest.raises(CreditlineError, match="creditline index"):
        cl.open_index(tmp_path)
    index = build()
    dataclasses.replace(index.manifest, status="building").write(index.path)
    with pytest.raises(CreditlineError, match="not complete"):
        cl.open_index(index.path)
    manifest = index.path / "manifest.json"
    manifest.write_text(manifest.read_text()[:50])
    with pytest.raises(CreditlineError, match="is damaged"):
        cl.open_index(index.path)


@pytest.mark.slow
def test_an_index_refuses_other_weights(build, tiny_folder, tiny_images):
    index = build(model=tiny_folder)
    other = cl.load_model(tiny_folder)
    other.module.conv_in.bias.data += 1
    with pytest.raises(IndexMismatchError, match="built with weights"):
        cl.open_index(index.path, model=other).trace(tiny_images)
    with pytest.raises(SettingsError, match="in memory"):
        cl.open_index(build("memory").path).trace(tiny_images)


@pytest.mark.slow
def test_damaged_curvature_says_what_to_do(build, tiny_model, tiny_images):
    index = build()
    index.scores(tiny_images)
    (path,) = index.path.glob("fitted/*/curvature-centered.safetensors")
    expected = index.scores(tiny_images)
    path.write_bytes(b"rubbish")
    with pytest.warns(match="computed again"):
        again = cl.open_index(index.path, model=tiny_model).scores(tiny_images)
    assert np.array_equal(again, expected)


@pytest.mark.slow
def test_features_extracted_once_serve_every_method_and_damping(build, tiny_images):
    index = build()
    queries = tiny_images.subset([2, 9])
    features = index.extract(queries)
    for other in (index, index.using(ridge=Ridge(0.01)), index.using("gradient-dot")):
        assert np.array_equal(other.scores(features), other.scores(queries))
        assert other.trace(features, top=2).queries == other.trace(queries, top=2).queries
    with pytest.raises(SettingsError, match="extracted already"):
        index.trace(features, region=(0, 0, 0.5, 1))


@pytest.mark.slow
def test_features_of_another_index_or_plan_are_refused(build, tiny_images):
    index = build()
    features = index.extract(tiny_images.subset([2]))
    other = build("other", noise_seed=1)
    with pytest.raises(IndexMismatchError, match="noise_seed: 0 on disk, 1 asked for"):
        other.scores(features)


@pytest.mark.slow
def test_queries_are_seen_with_more_noise_than_the_index(build, tiny_images, monkeypatch):
    monkeypatch.setattr(gradient_method, "QUERY_EVALUATIONS", 80)
    index = build()
    assert index.method.query_plan.draws == 27
    queries = tiny_images.subset([4])
    parts = [index.using(query_draws=r).extract(queries).values for r in (1, 2, 27)]
    assert not np.array_equal(parts[0], parts[1])
    assert np.array_equal(index.extract(queries).values, parts[2])
    shared = build("shared", shared_noise=True)
    assert shared.method.query_plan.draws == 1
    with pytest.raises(SettingsError, match="query_draws must"):
        index.using(query_draws=0).scores(queries)


@pytest.mark.slow
def test_a_setting_of_the_method_changes_by_name(build, tiny_images):
    index, queries = build(), tiny_images.subset([1])
    by_name = index.using(damping=0.01).scores(queries)
    assert np.array_equal(by_name, index.using(ridge=Ridge(0.01)).scores(queries))


@pytest.mark.slow
def test_other_contributors_make_another_index(build, tiny_images):
    build()
    renamed = cl.ImageSet.from_images(tiny_images.array(), contributors=["somebody"] * 12)
    with pytest.raises(IndexMismatchError, match="described"):
        build(images=renamed)
    facts = build(images=renamed, overwrite=True).trace(tiny_images.subset([0]), top=1)
    assert facts[0].proponents[0].contributor == "somebody"


def test_another_encoder_is_another_index_and_only_encoders_take_one(build, tiny_images, tmp_path):
    def first(images):
        return np.stack([np.asarray(p.resize((4, 4)), dtype=float).ravel() for p in images])

    def second(images):
        return -first(images)

    out = tmp_path / "encoded"
    cl.index(None, tiny_images, method="encoder-dot", out=out, encoder=first)
    with pytest.raises(IndexMismatchError, match="first' on disk"):
        cl.index(None, tiny_images, method="encoder-dot", out=out, encoder=second)
    with pytest.raises(SettingsError, match="D-TRAK uses no encoder"):
        build("wrong", method="d-trak", encoder=first)


def test_named_classes_of_queries_are_those_of_the_training_images():
    from creditline.indexing.queries import gather

    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    horse = cl.ImageSet.from_images(pixels, labels=[0, 0], label_names=["horse"])
    queries = gather(horse, horse.spec, (3, 4, 4), runs=False, classes=["automobile", "horse"])
    assert queries.images.labels == (1, 1)
    assert queries.images.ids == horse.ids
    with pytest.raises(DataError, match="called horse; those of the training images are cat, dog"):
        gather(horse, horse.spec, (3, 4, 4), runs=False, classes=["cat", "dog"])
    assert gather(horse, horse.spec, (3, 4, 4), runs=False).images.labels == (None, None)


@pytest.mark.slow
def test_leftovers_of_a_kill_among_the_shards_do_no_harm(build, tiny_images, monkeypatch):
    from creditline.indexing.store import Store

    original = Store.clear_shards

    def littered(store):
        (store.folder / "shards" / ".creditline-left").mkdir()
        original(store)

    monkeypatch.setattr(Store, "clear_shards", littered)
    assert not (build().path / "shards").exists()


@pytest.mark.slow
def test_an_index_of_an_earlier_version_is_named(build):
    index = build()
    request = json.loads(json.dumps(index.manifest.request))
    del request["features"]["sets"]
    dataclasses.replace(index.manifest, request=request).write(index.path)
    with pytest.raises(CreditlineError, match="earlier version"):
        cl.open_index(index.path)
