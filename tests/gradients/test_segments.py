"""Sums over the evaluations of one gradient, alike whether all have as many or not."""

from __future__ import annotations

import pytest
import torch

from creditline.gradients.segments import EvaluationSegments


@pytest.mark.parametrize("lengths", [(2, 2, 2), (1, 3, 2), (6,)])
@pytest.mark.parametrize("rows", [1, 4])
def test_sums_of_each_segment(lengths, rows):
    g, a = torch.randn(6 * rows, 5, 3).double(), torch.randn(6 * rows, 5, 2).double()
    segments = EvaluationSegments(lengths)
    outer = torch.einsum("npo,npi->noi", g, a)
    parts = [part.sum(0) for part in outer.split([rows * length for length in lengths])]
    torch.testing.assert_close(segments.outer(g, a), torch.stack(parts))
    torch.testing.assert_close(segments.sum(outer), torch.stack(parts))
