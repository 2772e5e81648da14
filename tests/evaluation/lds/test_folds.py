"""Retraining methods are judged on subsets they have not seen."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.errors import SettingsError
from creditline.evaluation.lds.folds import compute_held_out_lds, split_evenly
from creditline.evaluation.lds.score import compute_difference, compute_lds
from creditline.methods import FitContext, SubsetLosses, get
from creditline.methods.datamodel import RidgeDatamodel
from creditline.methods.subset_method import SubsetAttributor


def test_a_linear_world_is_predicted(world):
    w = world(n=20, M=64)
    assert compute_held_out_lds(get("datamodel"), w.masks, w.losses, resamples=50).mean > 0.95


@pytest.mark.slow
def test_noise_is_not(world):
    """On its own subsets a datamodel is right about anything; elsewhere it is not."""
    w = world(m=60, n=100, M=64)
    losses = np.random.default_rng(1).normal(size=w.losses.shape)
    scores = RidgeDatamodel().fit(FitContext(subsets=SubsetLosses(w.masks, losses))).scores_
    assert compute_lds(scores, w.masks, losses, resamples=2).mean > 0.6
    result = compute_held_out_lds(RidgeDatamodel, w.masks, losses, resamples=200)
    assert abs(result.mean) < 0.06


def test_every_subset_is_predicted_by_a_fit_without_it(world):
    w, fit_masks = world(M=36), []

    class Spy(SubsetAttributor):
        title = "Spy"

        def learn(self, masks, losses):
            fit_masks.append({mask.tobytes() for mask in masks})
            return np.ones((losses.shape[1], masks.shape[1]))

    compute_held_out_lds(Spy, w.masks, w.losses, resamples=2)
    every = {mask.tobytes() for mask in w.masks}
    held = [every - seen for seen in fit_masks]
    assert [len(part) for part in held] == [9, 9, 9, 9]
    assert set().union(*held) == every


def test_is_paired_with_plain_lds(world):
    w = world(M=64, noise=1.0)
    truth = compute_lds(w.effects, w.masks, w.losses)
    gain = compute_difference(
        truth, compute_held_out_lds(get("empirical-influence"), w.masks, w.losses)
    )
    assert gain.interval[0] > 0


def test_too_few_subsets_for_folds(world):
    w = world(M=15)
    with pytest.raises(SettingsError, match="at least 16 subsets"):
        compute_held_out_lds(RidgeDatamodel, w.masks, w.losses)
    with pytest.raises(SettingsError, match="8 or more of 64"):
        compute_held_out_lds(RidgeDatamodel, world().masks, world().losses, folds=9)


def test_deals():
    parts = split_evenly(37, 4, seed=1)
    assert sorted(map(len, parts)) == [9, 9, 9, 10]
    assert sorted(np.concatenate(parts)) == list(range(37))
