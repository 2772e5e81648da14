from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from creditline.data import load_images
from creditline.data.metadata_spec import MetadataSpec
from creditline.data.selection import SelectionSpec
from creditline.errors import DataError, SettingsError

datasets = pytest.importorskip("datasets")


@pytest.fixture
def rows(noise):
    features = datasets.Features(
        {
            "img": datasets.Image(),
            "label": datasets.ClassLabel(names=["zebra", "ant"]),
            "contributor": datasets.Value("string"),
            "text": datasets.Value("string"),
            "year": datasets.Value("int32"),
            "box": datasets.List(datasets.Value("float32")),
        }
    )
    return datasets.Dataset.from_dict(
        {
            "img": [Image.fromarray(noise(6, 8, 3, seed=i)) for i in range(3)],
            "label": [1, 0, -1],
            "contributor": ["Ann", "Bo", None],
            "text": ["a", "", None],
            "year": [1999, 2001, None],
            "box": [[0.5], [], [1.0]],
        },
        features=features,
    )


@pytest.mark.parametrize("format", [None, "numpy"])
def test_dataset(rows, noise, format):
    images = load_images(rows.with_format(format))
    assert images.names == ("row-0", "row-1", "row-2")
    np.testing.assert_array_equal(images.array([1])[0], noise(6, 8, 3, seed=1))
    assert images.contributors == ("Ann", "Bo", None)
    assert images.texts == ("a", None, None)
    assert images.labels == (1, 0, None)
    assert images.label_names == ("zebra", "ant")
    assert dict(images.columns) == {"year": ("1999", "2001", None)}


def test_rows_keep_their_order_and_are_read_again_elsewhere(rows, travel):
    plain = load_images(rows)
    images = travel(load_images(rows.select([2, 0]), memory=0))
    assert images.ids == (plain.ids[2], plain.ids[0])
    np.testing.assert_array_equal(images.array(), plain.array([2, 0]))


def test_images_on_disk_beside_the_dataset(folder):
    paths = [str(folder / "cat/0.png"), str(folder / "horse/1.png")]
    rows = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
    assert load_images(rows).ids == load_images(paths).ids
    (folder / "cat/0.png").unlink()
    with pytest.raises(DataError, match=r"row 0: .*cannot be read"):
        load_images(rows)


def test_a_row_without_image(rows, noise):
    broken = datasets.Dataset.from_dict(
        {"image": [None, {"bytes": b"junk", "path": None}, rows[0]["img"]]},
        features=datasets.Features({"image": datasets.Image()}),
    )
    with pytest.raises(DataError, match=r"row 0: no image in column 'image'"):
        load_images(broken)
    images = load_images(broken, selection=SelectionSpec(skip_bad=True))
    assert images.names == ("row-2",)
    assert [name for name, _ in images.skipped] == ["row-0", "row-1"]


def test_which_image_column(rows):
    two = rows.add_column("thumb", [None] * 3).cast_column("thumb", datasets.Image())
    with pytest.raises(DataError, match="image columns img, thumb"):
        load_images(two)
    assert load_images(two, metadata=MetadataSpec(image_column="img")).ids == load_images(rows).ids
    with pytest.raises(SettingsError, match="Did you mean 'img'"):
        load_images(rows, metadata=MetadataSpec(image_column="imgs"))
    with pytest.raises(DataError, match="no image column; its columns: label"):
        load_images(rows.remove_columns("img"))


def test_what_is_not_one_dataset(rows, folder):
    with pytest.raises(DataError, match=r"got DatasetDict\. Its splits: train, test"):
        load_images(datasets.DatasetDict({"train": rows, "test": rows}))
    with pytest.raises(DataError, match="got IterableDataset"):
        load_images(rows.to_iterable_dataset())
    with pytest.raises(DataError, match="no rows"):
        load_images(rows.select([]))
    with pytest.raises(DataError, match="image_column is for datasets"):
        load_images(folder, metadata=MetadataSpec(image_column="img"))
