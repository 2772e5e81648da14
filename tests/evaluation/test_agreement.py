"""The agreement check, on a model small enough for a test."""

from __future__ import annotations

import pytest

from creditline.errors import SettingsError
from creditline.evaluation.agreement import AgreementConfig, check_agreement


@pytest.mark.slow
def test_larger_projections_agree_better_and_paths_agree(tiny_model, tiny_images):
    settings = AgreementConfig(train=9, queries=3, timesteps=2, dims=(128, 4096))
    rows = check_agreement(tiny_model, tiny_images, settings)
    for title in ("TRAK", "D-TRAK"):
        mine = [row for row in rows if row.method == title]
        correlations = [r for r in mine if "rank correlation" in r.comparison]
        assert len(correlations) == 12, "three projections, two layouts, two dimensions"
        for small, large in zip(correlations[::2], correlations[1::2], strict=True):
            assert large.value > small.value
            assert large.value > 0.7
        assert all(r.value < 1e-6 for r in mine if "against" in r.comparison)
    with pytest.raises(SettingsError, match="drawn from"):
        check_agreement(tiny_model, tiny_images, AgreementConfig())
