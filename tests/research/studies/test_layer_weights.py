"""Learned weights on a tiny benchmark: judged beside the base on one index, and continued."""

from __future__ import annotations

import pytest

from creditline.evaluation.lds.compare import compare_methods
from creditline.evaluation.lds.config import LDSConfig
from creditline.indexing.index import Index
from creditline.methods.learned_weights import LearnedWeights
from creditline.settings import override
from creditline_research.studies import layer_weights
from creditline_research.studies.layer_weights import compare_layer_weights
from creditline_research.studies.subject import Subject
from creditline_research.tables.layer_weights import layer_weight_table

pytestmark = pytest.mark.slow


def test_gains_are_of_the_methods_on_one_index(
    tiny_benchmark, benchmark_images, tmp_path, monkeypatch
):
    subject = Subject.of_benchmark(tiny_benchmark, benchmark_images)
    options = {"timesteps": (2,), "config": LDSConfig(resamples=10), "say": lambda _: None}
    methods = [override(LearnedWeights(), {"dim": 256})]
    rows = compare_layer_weights(subject, tmp_path, methods, **options)
    index = Index(tmp_path / "index-ekfac-2")
    queries = list(subject.queries.items())
    for method, lds in (("learned-weights", rows[0].learned), ("ekfac", rows[0].equal)):
        comparison = compare_methods(
            index, subject.truth, queries, (index.using(method).method,), options["config"]
        ).to_dict()
        for group in comparison["groups"]:
            if group["name"] in lds:
                (entry,) = [e for e in group["methods"] if e["method"] == method]
                assert entry["lds"] == pytest.approx(lds[group["name"]][0])
    for folder, (mean, low, high) in rows[0].gain.items():
        assert mean == pytest.approx(rows[0].learned[folder][0] - rows[0].equal[folder][0])
        assert low <= mean <= high
    monkeypatch.setattr(layer_weights, "build_index", None)
    assert compare_layer_weights(subject, tmp_path, methods, **options)[0].base == rows[0].base
    text = layer_weight_table(rows)
    assert text.startswith("| method | T | weights | validation | generated |")
    assert f"{len(index.manifest.facts['blocks'])} layers" in text
