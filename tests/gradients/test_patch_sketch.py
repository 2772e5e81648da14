"""Columns of patches: those of the weight's gradient, unbiased, every channel and place in turn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from creditline.gradients.patch_sketch import PatchSketch

CHANNELS = 6
CONVS = {
    "plain": {"kernel_size": 3, "padding": 1},
    "stride": {"kernel_size": 3, "padding": (1, 0), "stride": (2, 3)},
    "dilation": {"kernel_size": (3, 2), "padding": (3, 1), "dilation": (2, 3)},
    "wide": {"kernel_size": 5, "padding": 4},  # some places see nothing but padding at some outputs
    "patches": {"kernel_size": 4, "stride": 4},
    "groups": {"kernel_size": 3, "padding": 1, "groups": 2},
}


def draw(
    count: int, places: int, most: int, seed: int = 0, channels: int = CHANNELS
) -> PatchSketch:
    return PatchSketch.draw(np.random.default_rng(seed), channels, count, places, most)


@pytest.mark.parametrize(("count", "most"), [(6, 8), (12, 8), (4, 2), (2, 2)])
@pytest.mark.parametrize("name", CONVS)
def test_columns_of_patches_match_columns_of_the_weight_gradient(name, count, most):
    torch.manual_seed(0)
    groups = CONVS[name].get("groups", 1)
    conv = nn.Conv2d(CHANNELS * groups, 4 * groups, **CONVS[name]).double()
    places = conv.weight[0, 0].numel()
    columns = draw(count, places, most)
    if columns.mixing is not None:
        columns = PatchSketch(
            CHANNELS, count, columns.mixing.double(), columns.order, columns.factor
        )
    x = torch.randn(2, CHANNELS * groups, 8, 7, dtype=torch.float64)
    y = conv(x)
    g = torch.randn_like(y)
    (full,) = torch.autograd.grad((y * g).sum(), [conv.weight])
    seen = columns.sketch_input(x, conv)
    assert torch.equal(columns.index_input(x, conv), seen)
    assert seen.shape == (2, groups, count, *y.shape[2:])
    mine = torch.einsum("ngohw,ngmhw->gom", g.unflatten(1, (groups, -1)), seen) * columns.factor
    expected = columns.sketch_weight(full.flatten(2)).unflatten(0, (groups, -1))
    torch.testing.assert_close(mine, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "most"), [(6, 8), (12, 8), (3, 2)])
def test_inner_products_are_unbiased(count, most):
    generator = torch.Generator().manual_seed(0)
    u, v = torch.randn(2, 5, CHANNELS, 9, generator=generator)
    v = u + v
    true = float((u * v).sum())
    pairs = (draw(count, 9, most, seed) for seed in range(600))
    results = [float((c.sketch_weight(u) * c.sketch_weight(v)).sum()) for c in pairs]
    assert abs(np.mean(results) - true) < 4 * np.std(results) / np.sqrt(len(results))


@pytest.mark.parametrize(("count", "most"), [(6, 8), (12, 8), (6, 2)])
def test_what_is_equal_at_all_positions_is_exact(count, most):
    generator = torch.Generator().manual_seed(0)
    u, v = torch.randn(2, 5, CHANNELS, 1, generator=generator).expand(-1, -1, -1, 9)
    columns = draw(count, 9, most)
    results = (columns.sketch_weight(u) * columns.sketch_weight(v)).sum()
    torch.testing.assert_close(results, (u * v).sum(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("channels", "count"), [(20, 20), (9, 27), (4, 8)])
def test_every_round_sees_a_channel_at_another_position(channels, count):
    columns = draw(count, 9, 64, channels=channels)
    marked = torch.arange(channels * 9).reshape(1, channels, 9).double() + 1
    channel, place = np.divmod((columns.sketch_weight(marked) / columns.factor - 1).numpy()[0], 9)
    pairs = {(round(c), round(p)) for c, p in zip(channel, place, strict=True)}
    assert len(pairs) == count
    assert set(Counter(c for c, _ in pairs).values()) == {count // channels}
    turns = Counter(p for _, p in pairs)
    assert max(turns.values()) - min(turns.get(p, 0) for p in range(9)) <= count // channels


def test_at_all_positions_keeps_everything_in_its_directions():
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(CHANNELS, CHANNELS, generator=generator))
    u, v = torch.randn(2, 5, CHANNELS, 9, generator=generator)
    columns = PatchSketch.at_all_positions(basis, 9)
    results = (columns.sketch_weight(u) * columns.sketch_weight(v)).sum()
    torch.testing.assert_close(results, (u * v).sum(), rtol=1e-5, atol=1e-5)
