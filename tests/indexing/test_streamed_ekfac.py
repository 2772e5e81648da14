"""EK-FAC influence by one pass over the training images, without stored features."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import creditline as cl
from creditline.features import gradient_stream
from creditline.features.gradient_stream import GradientStream
from creditline.features.gradients import GradientExtractor
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.preconditioning import Preconditioning
from creditline.gradients.preconditioning.settings import DRAWS
from creditline.gradients.spec import GradientSpec
from creditline.methods import get
from creditline.methods.streamed_ekfac import StreamedEKFAC
from creditline.runtime import Runtime
from creditline.settings import override

METHOD = get("ekfac-streamed")(
    gradients=GradientSpec(plan=NoisePlan(timesteps=4)),
    preconditioning=Preconditioning("ekfac", preconditioner_draws=24),
)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(StreamedEKFAC, "part_rows", 5)


@pytest.fixture
def index(tiny_model, tiny_images, tmp_path, small_parts):
    return cl.index(tiny_model, tiny_images, method=METHOD, out=tmp_path / "index")


@pytest.fixture
def exact(tiny_model, tiny_images, tmp_path):
    """Inner products of whitened gradients, and the queries."""
    source = GradientExtractor([tiny_model], METHOD.features, METHOD.query_plan)
    source.fit(tiny_images, folder=tmp_path / "curvature")
    train = source.extract(tiny_images, range(len(tiny_images)))[:, 0, 0]
    queries = tiny_images.subset([2, 5, 9])
    return source.extract(queries, range(3), "query")[:, 0, 0] @ train.T, queries


def stop_at_second_part(monkeypatch) -> list[int]:
    """Interrupt the next pass at its second part; returns the parts that were begun."""
    score, parts = GradientStream.score, []

    def stop(stream, part):
        parts.append(part)
        if len(parts) == 2:
            raise KeyboardInterrupt
        return score(stream, part)

    monkeypatch.setattr(GradientStream, "score", stop)
    return parts


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "tolerance"), [(32, 1e-4), (16, 3e-3), (8, 0.05)])
def test_scores_are_those_of_whitened_gradients(index, exact, bits, tolerance):
    expected, queries = exact
    scores = index.using(query_bits=bits).scores(queries)
    assert_allclose(scores, expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.slow
def test_an_interrupted_pass_goes_on_where_it_stopped(index, exact, monkeypatch):
    _, queries = exact
    complete = index.scores(queries)
    parts = stop_at_second_part(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        index.scores(queries)
    assert np.array_equal(index.scores(queries), complete)
    assert parts == [0, 1, 1, 2]
    assert not list((index.path / "fitted").rglob("scores-*.npy"))


@pytest.mark.slow
def test_parts_of_other_training_gradients_are_not_used(index, exact, monkeypatch):
    """The queries' gradients are equal: they have twenty draws either way."""
    _, queries = exact
    expected = index.using(draws=2, query_draws=20).scores(queries)
    stop_at_second_part(monkeypatch)
    one = index.using(query_draws=20)
    with pytest.raises(KeyboardInterrupt):
        one.scores(queries)
    assert np.array_equal(index.using(draws=2, query_draws=20).scores(queries), expected)


@pytest.mark.slow
def test_a_damaged_part_is_computed_again(index, exact, monkeypatch):
    _, queries = exact
    complete, write = index.scores(queries), gradient_stream.write_array

    def stop_after_first(path, *rest, **settings):
        write(path, *rest, **settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(gradient_stream, "write_array", stop_after_first)
    with pytest.raises(KeyboardInterrupt):
        index.scores(queries)
    monkeypatch.setattr(gradient_stream, "write_array", write)
    (part,) = (index.path / "fitted").rglob("scores-*.npy")
    content = bytearray(part.read_bytes())
    content[200] ^= 1
    part.write_bytes(content)
    with pytest.warns(UserWarning, match="computed again"):
        assert np.array_equal(index.scores(queries), complete)


@pytest.mark.slow
def test_workers_change_nothing(index, tiny_model, tiny_images, exact):
    _, queries = exact
    runtime = Runtime(workers=2)
    other = cl.open_index(index.path, model=tiny_model, images=tiny_images, runtime=runtime)
    assert np.array_equal(other.scores(queries), index.scores(queries))


@pytest.mark.slow
def test_a_trace_ranks_by_the_scores(index, tiny_images):
    queries = tiny_images.subset([2])
    (trace,) = index.trace(queries, top=3).queries
    order = np.argsort(-index.scores(queries)[0])
    assert [hit.row for hit in trace.proponents] == order[:3].tolist()


@pytest.mark.slow
def test_conjugate_gradients_report_what_is_left(index, exact):
    _, queries = exact
    damped = {"preconditioner_damping": 10.0, "cg_draws": 24}
    refined = index.using(cg_iterations=60, cg_tolerance=0.02, **damped)
    plain = index.using(**damped).scores(queries)
    scores = refined.scores(queries)
    facts = refined.trace(queries).settings["curvature"]
    assert 0 < facts["conjugate gradients"] <= 60
    assert facts["largest relative residual"] <= 0.02
    assert np.abs(scores - plain).max() > 0
    correlation = np.corrcoef(scores.ravel(), plain.ravel())[0, 1]
    assert correlation > 0.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"query_bits": 9}, "one of 32, 16, 8"),
        ({"preconditioner": "none", "preconditioner_draws": DRAWS}, "damped curvature"),
        ({"preconditioner_filter": "unrolled"}, "damped curvature"),
    ],
)
def test_settings_without_sense_are_refused(changes, words):
    with pytest.raises(cl.CreditlineError, match=words):
        override(METHOD, changes)


@pytest.mark.slow
def test_too_many_queries_for_the_memory_are_refused_at_once(tiny_model, tiny_images, tmp_path):
    index = cl.index(tiny_model, tiny_images, method=METHOD, out=tmp_path / "index")
    small = cl.open_index(index.path, model=tiny_model, images=tiny_images, memory=100_000)
    with pytest.raises(cl.CreditlineError, match="--query-bits 8"):
        small.scores(tiny_images)
