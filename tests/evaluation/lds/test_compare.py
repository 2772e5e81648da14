"""Comparisons on a tiny index against numbers that are computed by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from numpy.testing import assert_allclose

import creditline as cl
from creditline.curvature.ridge import Ridge
from creditline.data.image_set import ImageSet
from creditline.errors import DataError, IndexMismatchError, SettingsError
from creditline.evaluation.lds.compare import compare_methods
from creditline.evaluation.lds.config import LDSConfig
from creditline.evaluation.lds.contributors import predict_from_totals
from creditline.evaluation.lds.damping import DampingSearch
from creditline.evaluation.lds.folds import compute_held_out_lds
from creditline.evaluation.lds.query_folders import OVERALL
from creditline.evaluation.lds.score import compute_lds, score_outputs
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.methods import FitContext, ModelAttributor, Scores
from creditline.methods.datamodel import RidgeDatamodel
from creditline.methods.pixel_cosine import PixelCosine

QUICK = LDSConfig(resamples=20, search=DampingSearch(dampings=(0.01, 1.0), splits=3))


@pytest.fixture(scope="module")
def case(small_model, tmp_path_factory):
    """A TRAK index of twelve images, two folders of queries and a random ground truth."""
    rng, folders = np.random.default_rng(1), []
    images = ImageSet.from_images(
        rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8),
        contributors=[f"artist {i % 3}" for i in range(12)],
    )
    out = tmp_path_factory.mktemp("compare") / "index"
    index = cl.index(small_model, images, method="trak", out=out, timesteps=2, dim=64)
    for name, count in (("validation", 3), ("generated", 2)):
        pixels = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
        folders.append((name, ImageSet.from_images(pixels)))
    masks = rng.random((32, 12)) < 0.5
    losses = rng.normal(size=(32, 2, 5))
    truth = GroundTruth.from_arrays(masks, losses, images, folders)
    return index, images, folders, truth


@pytest.mark.slow
def test_every_number_equals_one_computed_by_hand(case):
    index, images, folders, truth = case
    comparison = compare_methods(
        index, truth, folders, ["trak", "gradient-cosine", "datamodel"], QUICK
    )
    assert [group.name for group in comparison.groups] == ["validation", "generated", OVERALL]
    names = [result.name for result in comparison.groups[0].results]
    assert names == [
        *("trak", "gradient-cosine", "datamodel"),
        *("pixel-cosine", "pixel-centered", "random"),
    ]
    scores = np.concatenate([index.scores(images) for _, images in folders])
    group, rows = comparison.group("generated"), slice(3, 5)
    losses = truth.losses[:, :, rows]
    options = {"resamples": 20}
    trak = group.result("trak")
    assert_allclose(
        trak.lds.per_query, compute_lds(scores[rows], truth.masks, losses, **options).per_query
    )
    totals = score_outputs(
        predict_from_totals(scores[rows], truth.masks, images.contributors), losses, **options
    )
    assert_allclose(trak.totals.per_query, totals.per_query)
    small = index.using(ridge=Ridge(0.01))
    by_hand = compute_lds(small.scores(folders[1][1]), truth.masks, losses, **options)
    assert trak.dampings.curve[0.01] == pytest.approx(by_hand.mean)
    datamodel = compute_held_out_lds(RidgeDatamodel, truth.masks, truth.losses, **options)
    assert_allclose(group.result("datamodel").lds.per_query, datamodel.per_query[rows])
    pixels = [p.pixels().numpy().reshape(len(p), -1) for p in (images, folders[1][1])]
    similarity = PixelCosine().fit(FitContext(features=pixels[0])).attribute(pixels[1])
    by_hand = compute_lds(similarity, truth.masks, losses, **options)
    assert_allclose(group.result("pixel-cosine").lds.per_query, by_hand.per_query)


@dataclass
class MeanColor(ModelAttributor):
    """A model method that scores the similarity of mean colors."""

    name: ClassVar = "mean-color"
    title: ClassVar = "Mean color"
    paper: ClassVar = "none"
    formula: ClassVar = "-|mean(q) - mean(i)|"
    needs: ClassVar = "nothing"
    cost: ClassVar = "none"

    def score(self, queries):
        colors = [
            images.pixels().double().mean((1, 2, 3)).numpy()
            for images in (self.query_images(queries), self.context_.images)
        ]
        return Scores(-np.abs(colors[0][:, None] - colors[1]))


@pytest.mark.slow
def test_model_and_subset_methods_take_the_path_of_bilinear_ones(small_model, case, tmp_path):
    _, images, folders, truth = case
    of_model = cl.index(small_model, images, method=MeanColor(), out=tmp_path / "model")
    of_subsets = cl.index(
        None, images, method="datamodel", out=tmp_path / "subsets", ground_truth=truth
    )
    for held, name in ((of_model, "mean-color"), (of_subsets, "datamodel")):
        comparison = compare_methods(held, truth, folders, config=QUICK)
        names = [result.name for result in comparison.group(OVERALL).results]
        assert names == [name, "pixel-cosine", "pixel-centered", "random"]
    scores = of_model.scores(folders[1][1])
    by_hand = compute_lds(scores, truth.masks, truth.losses[:, :, 3:5], resamples=20)
    comparison = compare_methods(of_model, truth, folders, config=QUICK)
    result = comparison.group("generated").result("mean-color")
    assert_allclose(result.lds.per_query, by_hand.per_query)
    assert result.dampings is None


@pytest.mark.slow
def test_a_sum_and_its_parts_are_judged_side_by_side_as_each_alone(small_model, case, tmp_path):
    _, images, folders, truth = case
    held = cl.index(
        small_model, images, method="combined", out=tmp_path / "sum", timesteps=2, dim=64
    )
    names = ["combined", "ekfac", "ekfac-cosine", "d-trak"]
    together = compare_methods(held, truth, folders, names, QUICK).group(OVERALL)
    for name in names:
        alone = compare_methods(held, truth, folders, [name], QUICK).group(OVERALL)
        assert_allclose(together.result(name).lds.per_query, alone.result(name).lds.per_query)


@pytest.mark.slow
def test_folders_together_are_all_queries(case):
    index, _, folders, truth = case
    comparison = compare_methods(index, truth, folders, config=QUICK)
    for name in ("trak", "random"):
        apart = [
            comparison.group(f).result(name).lds.per_query for f in ("validation", "generated")
        ]
        assert_allclose(comparison.group(OVERALL).result(name).lds.per_query, np.concatenate(apart))
    assert comparison.group("validation").ceiling.per_query.shape == (3,)
    values = json.loads(json.dumps(comparison.to_dict()))
    assert (values["subsets"], values["seeds"], values["images"]) == (32, 2, 12)
    assert set(values["groups"][2]["methods"][0]["dampings"]) == {
        *("default", "cross_validated", "oracle", "curve")
    }


@pytest.mark.slow
def test_unfinished_subsets_are_left_out(case):
    index, images, folders, truth = case
    partial = truth.losses.copy()
    partial[20:, 1] = np.nan
    comparison = compare_methods(
        index, GroundTruth.from_arrays(truth.masks, partial, images, folders), folders, (), QUICK
    )
    fewer = GroundTruth.from_arrays(truth.masks[:20], truth.losses[:20], images, folders)
    expected = compare_methods(index, fewer, folders, config=QUICK)
    assert comparison.facts["subsets"] == 20
    assert [p.to_dict() for p in comparison.groups] == [p.to_dict() for p in expected.groups]


def test_one_seed_has_no_ceiling_and_one_folder_no_overall(case):
    index, images, folders, truth = case
    one = GroundTruth.from_arrays(truth.masks, truth.losses[:, 0, :3], images, folders[:1])
    (group,) = compare_methods(index, one, folders[:1], config=QUICK).groups
    assert group.ceiling is None
    assert group.to_dict()["ceiling"] is None


def test_inputs_that_do_not_fit_are_refused(case):
    index, images, folders, truth = case
    with pytest.raises(SettingsError, match="Did you mean 'datamodel'"):
        compare_methods(index, truth, folders, ["datamodell"], QUICK)
    with pytest.raises(SettingsError, match="cannot be evaluated on held-out subsets"):
        compare_methods(index, truth, folders, ["leave-one-out"], QUICK)
    few = truth.losses.copy()
    few[5:] = np.nan
    with pytest.raises(DataError, match="5 of 32 are finished"):
        compare_methods(index, GroundTruth(truth.masks, few), folders, (), QUICK)
    with pytest.raises(SettingsError, match="bootstrap_seed must not be negative; got -1"):
        LDSConfig(bootstrap_seed=-1)
    with pytest.raises(SettingsError, match="split_seed must not be negative; got -1"):
        DampingSearch(split_seed=-1)
    with pytest.raises(IndexMismatchError, match="5 queries"):
        compare_methods(index, truth, folders[:1], (), QUICK)
    with pytest.raises(IndexMismatchError, match="another order"):
        compare_methods(index, truth, folders[::-1], (), QUICK)
    turned = GroundTruth.from_arrays(
        truth.masks, truth.losses, images.subset(range(11, -1, -1)), folders
    )
    with pytest.raises(IndexMismatchError, match="another order"):
        compare_methods(index, turned, folders, (), QUICK)
    with pytest.raises(IndexMismatchError, match="12"):
        compare_methods(index, GroundTruth(truth.masks[:, :9], truth.losses), folders, (), QUICK)
    with pytest.raises(DataError, match="at least 8"):
        compare_methods(index, GroundTruth(truth.masks[:7], truth.losses[:7]), folders, (), QUICK)
    flat = truth.losses.copy()
    flat[:, :, 4] = 2.0
    with pytest.raises(DataError, match="same under all"):
        compare_methods(index, GroundTruth(truth.masks, flat), folders, (), QUICK)
