"""Damaged files are refused, or made again: no answer differs from that of the intact ones.

Bits are flipped and parts cut off, zeroed and replaced in every kind of file that is stored.
"""

from __future__ import annotations

import pytest
from tests.damage.conftest import KINDS
from tests.damage.mutation import outcomes

MANY = 90
"""Mutations of each kind in the long form."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_refused_or_mended(make, kind):
    counts = outcomes(*make(kind), count=8, seed=0)
    assert counts.total() == 8


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_much_damage_is_refused_or_mended(make, kind, capsys):
    counts = outcomes(*make(kind), count=MANY, seed=1)
    with capsys.disabled():
        print(f"\n{kind}: {dict(counts)}")
