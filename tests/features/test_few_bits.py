"""Codes of few bits: unbiased along the row, exact products of what they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.features.few_bits import STEPS, FewBitCode

COSINE = {1: (2 / np.pi) ** 0.5, 2: (1 - 0.1188) ** 0.5, 4: (1 - 0.01154) ** 0.5, 8: 1.0}
"""Of a coded row of normally distributed numbers with the row itself (Max, 1960, table II)."""


@pytest.fixture(params=STEPS)
def code(request) -> FewBitCode:
    return FewBitCode(request.param)


def draw(n: int, k: int = 512) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, k), dtype=np.float32)


def test_a_row_has_its_exact_product_with_itself(code):
    rows = draw(20) * np.logspace(-20, 15, 20, dtype=np.float32)[:, None]
    decoded = code.decode(*code.encode(rows))
    squares = (rows.astype(np.float64) ** 2).sum(1)
    np.testing.assert_allclose((decoded * rows).sum(1), squares, rtol=1e-5)


def test_the_direction_is_kept_as_far_as_bits_allow(code):
    rows = draw(20)
    decoded = code.decode(*code.encode(rows))
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(decoded, axis=1)
    cosine = float(((rows * decoded).sum(1) / norms).mean())
    assert cosine == pytest.approx(COSINE[code.bits], abs=0.002)


def test_codes_take_their_bits(code):
    codes, factor = code.encode(draw(3))
    assert codes.dtype == np.uint8
    assert codes.shape == (3, 512 * code.bits // 8)
    assert factor.shape == (3,)


def test_products_are_those_of_decoded_rows(code):
    codes, factor = code.encode(draw(700))
    queries = np.random.default_rng(1).standard_normal((5, 512), dtype=np.float32)
    expected = queries.astype(np.float64) @ code.decode(codes, factor).T
    own = code.products(codes, factor, queries)
    np.testing.assert_allclose(own, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_products_do_not_depend_on_how_rows_are_split(code):
    codes, factor = code.encode(draw(9))
    queries = draw(2)
    parts = [code.products(codes[i : i + 4], factor[i : i + 4], queries) for i in (0, 4, 8)]
    complete = code.products(codes, factor, queries)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), complete, rtol=1e-5, atol=1e-3)


def test_a_row_of_zeros_stays_zero(code):
    codes, factor = code.encode(np.zeros((2, 64), np.float32))
    assert not code.decode(codes, factor).any()


def test_products_of_different_rows_are_unbiased_after_a_random_rotation(code):
    generator = np.random.default_rng(2)
    a = generator.standard_normal(64)
    b = a + generator.standard_normal(64)
    values = []
    for _ in range(300):
        rotation = np.linalg.qr(generator.standard_normal((64, 64)))[0]
        rows = (rotation @ b)[None].astype(np.float32)
        values.append(float((code.decode(*code.encode(rows)) @ (rotation @ a))[0]))
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values) - a @ b) < 4 * error + 1e-3 * abs(a @ b)


@pytest.mark.parametrize("bits", [8, 4, 2, 1])
def test_signs_are_those_of_the_decoded_numbers(bits):
    rows, code = np.random.default_rng(0).standard_normal((5, 64)), FewBitCode(bits)
    codes, factor = code.encode(rows)
    for count in (64, 16):
        signs = np.unpackbits(code.signs(codes, count), axis=1)
        assert np.array_equal(signs, code.decode(codes, factor)[:, :count] >= 0)
