"""Held gradients: products with packed rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from creditline.gradients.held_gradients import HeldGradients

GENERATOR = torch.Generator().manual_seed(0)
HELD = [torch.randn(5, 200, generator=GENERATOR), 1e-4 * torch.randn(5, 3, generator=GENERATOR)]
OTHERS = [torch.randn(7, 200, generator=GENERATOR), torch.randn(7, 3, generator=GENERATOR)]
EXACT = sum((h.double() @ o.double().mT).numpy() for h, o in zip(HELD, OTHERS, strict=True))


@pytest.mark.parametrize(("bits", "tolerance"), [(32, 1e-5), (16, 2e-2), (8, 0.5)])
def test_products_are_those_of_what_was_packed(bits, tolerance):
    held = HeldGradients.pack(HELD, bits)
    assert len(held) == 5
    assert_allclose(held.products(OTHERS), EXACT, atol=tolerance)
    assert np.corrcoef(held.products(OTHERS).ravel(), EXACT.ravel())[0, 1] > 0.999


def test_each_row_has_its_own_scale():
    """A row that is a million times smaller keeps as many digits."""
    small = [layer * torch.tensor([1.0, 1e-6, 1, 1, 1])[:, None] for layer in HELD]
    products = HeldGradients.pack(small, 8).products(OTHERS)
    assert_allclose(products[1] * 1e6, HeldGradients.pack(HELD, 8).products(OTHERS)[1], rtol=1e-4)


def test_zeros_stay_zeros():
    zeros = [torch.zeros_like(layer) for layer in HELD]
    assert not HeldGradients.pack(zeros, 8).products(OTHERS).any()


def test_the_digest_sees_every_number():
    changed = [HELD[0].clone(), HELD[1]]
    changed[0][4, 199] += 1e-3
    assert HeldGradients.pack(HELD).digest == HeldGradients.pack(HELD).digest
    assert HeldGradients.pack(HELD).digest != HeldGradients.pack(changed).digest
