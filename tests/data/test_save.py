"""What a saved set does not bring back."""

from __future__ import annotations

import numpy as np

import creditline as cl


def test_a_column_read_under_another_name_does_not_come_back_as_the_contributor(tmp_path):
    pixels = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    columns = {"contributor": ["agency"], "file_name": ["elsewhere.png"], "place": ["here"]}
    images = cl.ImageSet.from_images(pixels, contributors=["Ann"], columns=columns)
    images.save(tmp_path / "data")
    again = cl.load_images(tmp_path / "data")
    assert again.contributors == ("Ann",)
    assert again.columns == {"place": ("here",)}
