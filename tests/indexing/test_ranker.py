"""Top-k selection."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from creditline.indexing.ranker import strongest


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.integers(1, 50))
def test_strongest_is_a_stable_sort_cut_short(values, top):
    scores = np.array(values, dtype=np.float64)
    expected = sorted(range(len(values)), key=lambda i: (-values[i], i))[:top]
    assert strongest(scores, top).tolist() == expected
