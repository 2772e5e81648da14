"""The public names of `creditline.evaluation`."""

from __future__ import annotations

import pytest

from creditline import evaluation


def test_every_public_name_is_documented():
    for name in evaluation.__all__:
        assert getattr(evaluation, name).__doc__.strip(), name
    assert dir(evaluation) == sorted(evaluation.__all__)
    assert set(evaluation.__all__) == set(evaluation._EXPORTS)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        evaluation.predict  # noqa: B018
