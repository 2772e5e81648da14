"""A random rotation keeps inner products and spreads a feature over all numbers of its block."""

from __future__ import annotations

import pytest
import torch
from tests.device import DEVICE

from creditline.gradients.projection.rotation import RandomRotation


@pytest.mark.parametrize("dim", [64, 96, 7])
def test_inner_products_stay(dim):
    rows = torch.randn(4, dim, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    rotated = RandomRotation(dim, 0)(rows)
    torch.testing.assert_close(rotated @ rotated.mT, rows @ rows.mT)


@pytest.mark.parametrize("dim", [64, 96, 7])
def test_the_inverse_rotates_back(dim):
    rows = torch.randn(4, dim, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    rotation = RandomRotation(dim, 0)
    torch.testing.assert_close(rotation.inverse(rotation(rows)), rows)
    torch.testing.assert_close(rotation(rotation.inverse(rows)), rows)


def test_one_number_becomes_equally_many_of_one_size():
    row = torch.zeros(1, 96)
    row[0, 5] = 3
    rotated = RandomRotation(96, 0)(row)[0]
    assert rotated[:32].abs().unique().numel() == 1
    assert not rotated[32:].any()


def test_another_seed_is_another_rotation():
    row = torch.ones(1, 64)
    assert torch.equal(RandomRotation(64, 0)(row), RandomRotation(64, 0)(row))
    assert not torch.equal(RandomRotation(64, 0)(row), RandomRotation(64, 1)(row))
