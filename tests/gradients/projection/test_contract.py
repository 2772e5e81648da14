"""Every projection: unbiased, as exact as theory says, the same however it is called."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from creditline.errors import SettingsError
from creditline.fingerprint import key64
from creditline.gradients.parameters import Layer
from creditline.gradients.projection import Projection
from creditline.gradients.projection.layout import lay_out
from creditline.gradients.projection.registry import PROJECTORS
from creditline.gradients.projection.state import ProjectionState

LAYERS = (
    Layer("a", ("a.weight",), ((20, 35),)),
    Layer("b", ("b.bias",), ((5,),)),
    Layer("c", ("c.weight", "c.bias"), ((10, 3, 3, 3), (30,))),
    Layer("d", ("d.weight",), ((64,),)),
)
D = sum(layer.size for layer in LAYERS)
NAMES = PROJECTORS.names()
RANDOM = [p for p in NAMES if p not in ("principal", "none")]


def split(rows: torch.Tensor) -> list[torch.Tensor]:
    return list(rows.split([layer.size for layer in LAYERS], dim=-1))


@cache
def state(settings: Projection) -> ProjectionState | None:
    """What a projection learns from some gradients, if it needs any."""
    if not settings.needs_fit:
        return None
    generator = torch.Generator().manual_seed(1)
    sample = [split(torch.randn(D, generator=generator)) for _ in range(20)]
    return ProjectionState.fit(settings, LAYERS, sample)


def make(kind: str, k: int = 128, seed: int = 0, layout: str = "layers"):
    """A function that projects explicit gradients."""
    own = PROJECTORS.load(kind).settings
    values = {"dim": k, "projection_seed": seed, "layout": layout, "rank": 8}
    settings = Projection(kind, **{name: values[name] for name in values if name in own})
    projector = settings.build(LAYERS, state(settings))

    def project(rows: torch.Tensor) -> torch.Tensor:
        layers, two_sided = split(rows), projector.two_sided
        return projector.project(layers if two_sided is None else two_sided.project(layers))

    return project


@pytest.fixture
def vectors() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(D, generator=generator)
    return torch.stack([u, 0.6 * u + 0.8 * torch.randn(D, generator=generator)])


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["layers", "joint"])
@pytest.mark.parametrize("kind", RANDOM)
def test_inner_products_are_unbiased_with_the_variance_of_theory(kind, layout, vectors):
    k, trials = 128, 100
    estimates = []
    for seed in range(trials):
        feature = make(kind, k, seed, layout)(vectors)
        estimates.append(float(feature[0] @ feature[1]))
    true = float(vectors[0] @ vectors[1])
    spread = float(np.std(estimates))
    assert abs(np.mean(estimates) - true) < 4 * spread / np.sqrt(trials)
    if layout == "joint" and kind != "two-sided":
        squares = vectors.square().sum(1)
        theory = float(torch.sqrt((squares[0] * squares[1] + true**2) / k))
        assert 0.75 * theory < spread < 1.25 * theory


@pytest.mark.parametrize("kind", NAMES)
def test_rows_of_a_batch_do_not_influence_each_other(kind, vectors):
    project = make(kind)
    together = project(vectors)
    alone = torch.cat([project(row[None]) for row in vectors])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", NAMES)
def test_same_seed_same_projection_other_seed_another(kind, vectors):
    a, b = (make(kind, seed=3)(vectors) for _ in range(2))
    assert torch.equal(a, b)
    other = make(kind, seed=4)(vectors)
    assert torch.equal(a, other) == (kind == "none")


@pytest.mark.parametrize("kind", NAMES)
def test_linear(kind, vectors):
    project = make(kind)
    combined = project((2 * vectors[0] - 3 * vectors[1])[None])[0]
    parts = project(vectors)
    torch.testing.assert_close(combined, 2 * parts[0] - 3 * parts[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", ["layers", "joint"])
def test_count_sketch_is_signs_and_runs_that_wrap_around(layout, vectors):
    projector = Projection("count-sketch", 37, seed := 5, layout).build(LAYERS)
    parts = [vectors] if layout == "joint" else split(vectors)
    expected = []
    for block, part in zip(projector.blocks, parts, strict=True):
        key = key64("count-sketch", seed, block.name)
        generator = np.random.Generator(np.random.Philox(key=key))
        runs = -(-block.size // block.rows)
        shifts = generator.integers(0, block.rows, runs)
        signs = generator.integers(0, 2, block.size, dtype=np.int8) * 2 - 1
        if block.is_exact:
            expected.append(part)
            continue
        mixed = part * torch.from_numpy(signs)
        padded = torch.nn.functional.pad(mixed, (0, runs * block.rows - block.size))
        rolled = [
            run.roll(int(shift), 1)
            for run, shift in zip(padded.split(block.rows, 1), shifts, strict=True)
        ]
        expected.append(sum(rolled))
    results = projector.project(split(vectors))
    torch.testing.assert_close(results, torch.cat(expected, 1).float(), rtol=1e-5, atol=1e-5)


def test_count_sketch_of_a_row_is_bitwise_equal_in_any_batch(vectors):
    project = make("count-sketch", 100, layout="joint")
    assert torch.equal(project(vectors)[1], project(vectors[1:])[0])


def test_none_is_the_explicit_gradient(vectors):
    assert torch.equal(Projection("none").build(LAYERS).project(split(vectors)), vectors)


@pytest.mark.parametrize("k", [4, 37, 128, 1000, D - 1])
def test_blocks_are_contiguous_and_sum_to_k(k):
    blocks = lay_out(Projection(dim=k, layout="layers"), LAYERS)
    assert [b.start for b in blocks] == np.cumsum([0, *(b.rows for b in blocks[:-1])]).tolist()
    assert sum(b.rows for b in blocks) == k
    assert all(1 <= b.rows <= b.size for b in blocks)


@pytest.mark.parametrize(
    ("budget", "weights"),
    [
        ("sqrt", [layer.size**0.5 for layer in LAYERS]),
        ("size", [layer.size for layer in LAYERS]),
        ("variance", [5.0, 1.0, 2.0, 2.0]),
    ],
)
def test_dimensions_follow_the_budget(budget, weights):
    settings = Projection(dim=100, layout="layers", budget=budget, projection="count-sketch")
    rows = [b.rows for b in lay_out(settings, LAYERS, np.array([5.0, 1.0, 2.0, 2.0]))]
    ideal = 95 * np.array(weights) / (sum(weights) - weights[1])  # layer b has 5 elements
    ideal[1] = 5
    if budget == "size":
        ideal = 100 * np.array(weights) / sum(weights)
        ideal[1] = max(1, ideal[1])
    assert sum(rows) == 100
    assert np.abs(np.array(rows) - ideal).max() <= 1


def test_layers_without_variance_still_have_a_dimension():
    settings = Projection(dim=1000, layout="layers", budget="variance", projection="count-sketch")
    rows = [b.rows for b in lay_out(settings, LAYERS, np.array([1.0, 0.0, 0.0, 0.0]))]
    assert rows[0] == 700
    assert sum(rows) == 1000
    few = Projection(dim=100, layout="layers", budget="variance", projection="count-sketch")
    assert [b.rows for b in lay_out(few, LAYERS, np.array([1.0, 0, 0, 0]))] == [97, 1, 1, 1]


@pytest.mark.slow
def test_by_variance_layers_are_as_exact_as_a_joint_sketch():
    """Of gradients whose layers differ much, at equal k."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.cat([torch.full((x.size,), s) for x, s in zip(LAYERS, (1, 9, 3, 0.1))])  # noqa: B905
    rows = torch.randn(40, D, generator=generator) * scale
    state_of_rows, true = (
        ProjectionState.fit(
            Projection("count-sketch", 150, layout="layers", budget="variance"),
            LAYERS,
            [split(row) for row in rows],
        ),
        rows @ rows.T,
    )

    def error(**settings) -> float:
        results = []
        for seed in range(20):
            projector = Projection("count-sketch", 150, seed, **settings).build(
                LAYERS, state_of_rows
            )
            features = projector.project(split(rows))
            results.append(float((features @ features.T - true).norm()))
        return float(np.mean(results))

    joint = error(layout="joint")
    by_variance = error(layout="layers", budget="variance")
    assert by_variance < 1.1 * joint
    assert by_variance < 0.9 * error(layout="layers", budget="size")


def test_a_projection_that_needs_a_fit_is_refused_without_one():
    for settings in ({"projection": "principal"}, {"layout": "layers", "budget": "variance"}):
        with pytest.raises(SettingsError, match="is not fitted"):
            Projection(dim=64, **settings).build(LAYERS)


def test_per_layer_scores_add_up(vectors):
    projector = Projection("count-sketch", 128, layout="layers").build(LAYERS)
    a, b = projector.project(split(vectors))
    parts = [
        a[x.start : x.start + x.rows] @ b[x.start : x.start + x.rows] for x in projector.blocks
    ]
    torch.testing.assert_close(torch.stack(parts).sum(), a @ b)


def test_a_layers_projection_does_not_depend_on_the_other_layers(vectors):
    full = Projection("gaussian", 128, layout="layers").build(LAYERS)
    block = full.blocks[0]
    alone = Projection("gaussian", block.rows, layout="layers").build(LAYERS[:1])
    parts = split(vectors)
    torch.testing.assert_close(
        full.project(parts)[:, : block.rows], alone.project(parts[:1]), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"projection": "gausian"}, "gaussian"),
        ({"layout": "layer"}, "layers"),
        ({"dim": 0}, "at least 1"),
        ({"rank": 0}, "rank must be at least 1"),
        ({"budget": "squared"}, "sqrt"),
        ({"learn_from": 1}, "learn_from must be at least 2; got 1"),
    ],
)
def test_bad_settings(settings, word):
    with pytest.raises(SettingsError, match=word):
        Projection(**settings)


def test_impossible_dimensions_are_refused():
    with pytest.raises(SettingsError, match="smaller than the 1,069 selected"):
        Projection("count-sketch", dim=D).build(LAYERS)
    with pytest.raises(SettingsError, match=r"coordinates that the rank leaves.*raise the rank"):
        Projection(dim=600, rank=2).build(LAYERS)
    with pytest.raises(SettingsError, match="4 layers"):
        Projection(dim=3, layout="layers").build(LAYERS)
