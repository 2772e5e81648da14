"""Groups of methods that share an index, from their declarations alone."""

from __future__ import annotations

import pytest
from tests.benchmarks.toys import ToyBilinear, ToyModel, ToySubset

from creditline import methods
from creditline.benchmarks.groups import judgeable_methods, method_groups


def by_key(groups):
    return {group.key: [m.name for m in group.methods] for group in groups}


def test_methods_share_an_index_where_their_features_are_equal():
    groups = by_key(method_groups(judgeable_methods(), [10]))
    assert groups["d-trak-10-1"] == ["d-trak"]
    assert set(groups["tracin-10-checkpoints"]) == {"tracin", "gas"}
    assert {"trak", "relative-if", "gradient-dot"} <= set(groups["trak-10-1"])


def test_every_registered_method_is_in_one_group():
    groups = method_groups(judgeable_methods(), [10])
    names = [m.name for group in groups for m in (*group.methods, *group.trajectory_methods)]
    assert len(names) == len(set(names))
    missing = {"leave-one-out", "encoder-dot", "encoder-cosine", "encoder-centered"}
    assert set(methods.names()) - set(names) == missing


def test_queries_of_trajectory_methods_are_sampling_runs():
    (group,) = (g for g in method_groups(judgeable_methods(), [10]) if g.trajectory_methods)
    assert [m.name for m in group.trajectory_methods] == ["journey-trak"]
    assert group.index_method.name == "trak"


def test_groups_come_once_for_each_number_of_timesteps():
    groups = method_groups(judgeable_methods(), [10, 100])
    assert [g.key for g in groups if g.index_method.name == "d-trak"] == [
        "d-trak-10-1",
        "d-trak-100-1",
    ]
    assert sum(g.timesteps is None for g in groups) == 2  # pixels, models
    assert all(g.index_method.features.plan.timesteps == g.timesteps for g in groups if g.timesteps)


def test_an_ensemble_repeats_the_groups_of_the_final_model():
    groups = method_groups(judgeable_methods(), [10], ensemble=3)
    names = ["combined", "d-trak", "das", "diag-fisher", "ekfac", "kfac", "learned-weights", "trak"]
    assert sorted(g.key for g in groups if g.models == 3) == [f"{name}-10-3" for name in names]
    assert not any(g.trajectory_methods for g in groups if g.models == 3)


@pytest.mark.parametrize(
    ("method", "key"),
    [
        (methods.get("relative-if")(), "trak-10-1"),
        (ToyBilinear(), "trak-10-1"),
        (ToyModel(), "ekfac-streamed"),
        (ToySubset(), "pixel-dot"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_selection_uses_the_index_of_all_methods(method, key):
    assert by_key(method_groups([method], [10])) == {key: [method.name]}
