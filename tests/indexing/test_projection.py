"""What a projection learns belongs to the index: fitted once, kept, and used by its queries."""

from __future__ import annotations

import numpy as np
import pytest

import creditline as cl
from creditline.errors import CreditlineError, IndexMismatchError
from creditline.features.gradients import GradientExtractor
from creditline.indexing.projection import NAME
from creditline.runtime import Runtime

PRINCIPAL = {"projection": "principal", "rank": 6}
BY_VARIANCE = {"projection": "count-sketch", "layout": "layers", "budget": "variance"}
FISHER = {"preconditioner": "diagonal-fisher", "preconditioner_draws": 4}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [PRINCIPAL, BY_VARIANCE, {**BY_VARIANCE, **PRINCIPAL}, FISHER])
def test_queries_are_projected_as_the_index_was(build, tiny_model, tiny_images, settings):
    index = build(**settings)
    opened = cl.open_index(index.path, model=tiny_model)
    features = opened.extract(tiny_images.subset([3])).values
    source = GradientExtractor([tiny_model], index.method.features, index.method.query_plan)
    source.fit(tiny_images)
    expected = source.extract(tiny_images, [3], "query")[:, 0]
    np.testing.assert_allclose(
        features[:, 0], expected, rtol=0, atol=1e-5 * np.linalg.norm(expected)
    )
    assert sum(rows for *_, rows in index.manifest.facts["blocks"]) == index.dim


@pytest.mark.slow
def test_workers_and_repetition_are_bitwise_equal(build):
    one, two = build("one", **PRINCIPAL), build("two", runtime=Runtime(workers=2), **PRINCIPAL)
    assert one.digest() == two.digest()
    assert one.manifest.facts["projection"] == two.manifest.facts["projection"]


@pytest.mark.slow
def test_an_interrupted_index_is_fitted_only_once(build, monkeypatch):
    complete = build("complete", **PRINCIPAL)
    calls, extract = [], GradientExtractor.extract

    def interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return extract(self, *args, **kwargs)

    monkeypatch.setattr(GradientExtractor, "extract", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build("part", **PRINCIPAL)
    monkeypatch.setattr(GradientExtractor, "fit", lambda *_: pytest.fail("fitted again"))
    assert build("part", **PRINCIPAL).digest() == complete.digest()


@pytest.mark.slow
def test_an_ensemble_has_directions_of_each_model(build, tiny_model, tiny_images):
    import copy

    import torch

    other = copy.deepcopy(tiny_model)
    with torch.no_grad():
        for p in other.module.parameters():
            p.add_(
                0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)).to(p.device)
            )
    index = build(model=[tiny_model, other], **PRINCIPAL)
    assert index.models == 2
    alone = build("alone", model=[other], **PRINCIPAL)
    np.testing.assert_array_equal(index.features(1), alone.features(0))


@pytest.mark.slow
def test_a_lost_foreign_or_damaged_file_is_refused(build, tiny_model, tiny_images):
    index, other = build(**PRINCIPAL), build("other", learn_from=3, **PRINCIPAL)
    path = index.path / NAME
    path.write_bytes((other.path / NAME).read_bytes())
    with pytest.raises(IndexMismatchError, match="were projected by"):
        cl.open_index(index.path, model=tiny_model).trace(tiny_images.subset([0]))
    path.write_bytes(b"nothing")
    with pytest.raises(CreditlineError, match=r"is damaged|is missing"):
        cl.open_index(index.path, model=tiny_model).trace(tiny_images.subset([0]))
    path.unlink()
    with pytest.raises(CreditlineError, match=r"is damaged|is missing"):
        cl.open_index(index.path, model=tiny_model).trace(tiny_images.subset([0]))


@pytest.mark.slow
def test_hooks_and_autograd_agree(tiny_model, tiny_images):
    from creditline.gradients.projection import Projection
    from creditline.gradients.spec import FeatureSpec

    features = []
    for engine in ("hooks", "autograd"):
        spec = FeatureSpec(projection=Projection("principal", 128, rank=6), engine=engine)
        source = GradientExtractor([tiny_model], spec)
        source.fit(tiny_images)
        features.append(source.extract(tiny_images, range(4)))
    np.testing.assert_allclose(
        *features, rtol=0, atol=1e-5 * np.linalg.norm(features[0], axis=-1).max()
    )
