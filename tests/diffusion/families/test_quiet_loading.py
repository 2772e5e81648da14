"""Loading a model prints nothing."""

from __future__ import annotations

import pytest

from creditline.diffusion.load import load_model


@pytest.mark.parametrize("name", ["sd", "dit", "ldm", "sana", "ddpm"])
def test_loading_prints_nothing(folder, capfd, caplog, name):
    encoding = {"prompt_tokens": 12} if name == "sana" else None
    place = folder(name)[0]
    capfd.readouterr()
    caplog.clear()
    load_model(place, encoding=encoding)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
