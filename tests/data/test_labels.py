from __future__ import annotations

import pytest

from creditline.data import load_images
from creditline.data.image_spec import ImageSpec
from creditline.data.labels import class_indices
from creditline.data.metadata_spec import MetadataSpec
from creditline.data.selection import SelectionSpec
from creditline.errors import DataError, SettingsError


def test_labels_from_the_folder(folder):
    images = load_images(folder, metadata=MetadataSpec(labels="folder"))
    assert images.labels == (0, 0, 0, 1, 1, 1)
    assert images.label_names == ("cat", "horse")
    assert load_images(folder).labels == (None,) * 6


def test_contributors_from_the_first_folder_labels_from_the_last(write, noise):
    source = write(
        {f"{who}/{what}/1.png": noise(4, 4, 3) for who in ("ann", "bo") for what in ("x", "y")}
    )
    images = load_images(source, metadata=MetadataSpec(contributors="folder", labels="folder"))
    assert images.contributors == ("ann", "ann", "bo", "bo")
    assert (
        load_images(source, metadata=MetadataSpec(contributors="none")).contributors == (None,) * 4
    )
    assert images.labels == (0, 1, 0, 1)
    assert images.label_names == ("x", "y")


def test_numbered_folders_are_names_too(write, noise):
    source = write({f"{i}/a.png": noise(4, 4, 3) for i in ("10", "9")})
    images = load_images(source, metadata=MetadataSpec(labels="folder"))
    assert images.label_names == ("10", "9")
    assert images.labels == (0, 1)


def test_images_in_no_folder(folder, write, noise):
    write({"loose.png": noise(6, 8, 3)})
    with pytest.raises(DataError, match=r"1 images lie in no folder .*loose\.png"):
        load_images(folder, metadata=MetadataSpec(labels="folder"))


@pytest.fixture
def labeled(write, noise):
    def make(*labels: str, column: str = "label"):
        rows = "".join(f"{i}.png,{label}\n" for i, label in enumerate(labels))
        images = {f"{i}.png": noise(4, 4, 3, seed=i) for i in range(len(labels))}
        return write(images | {"metadata.csv": f"file_name,{column}\n{rows}"})

    return make


def test_numbers_are_taken_as_they_are(labeled):
    images = load_images(labeled("3", "0", "", "3.0"))
    assert images.labels == (3, 0, None, 3)
    assert images.label_names is None
    assert dict(images.columns) == {}


def test_names_are_numbered_in_sorted_order(labeled):
    images = load_images(labeled("dog", "cat", "", "dog"))
    assert images.labels == (1, 0, None, 1)
    assert images.label_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("1", "-1"), "'label' holds -1, which are no class labels"),
        (("1", "0.37"), "holds 0.37"),
        (("1", "cat"), r"mixes numbers with names \(cat\)"),
    ],
)
def test_values_that_are_no_labels(labeled, values, message):
    source = labeled(*values)
    with pytest.raises(DataError, match=message):
        load_images(source)
    ignored = load_images(source, metadata=MetadataSpec(labels="none"))
    assert ignored.labels == (None, None)
    assert ignored.columns["label"] == values


def test_without_metadata_there_is_no_column(folder):
    with pytest.raises(DataError, match=r"no column 'label'; its columns: none, for there is no"):
        load_images(folder, metadata=MetadataSpec(labels="column"))


def test_an_asked_for_column_must_exist(labeled):
    source = labeled("cat", "dog", column="class")
    assert load_images(source, metadata=MetadataSpec(label_column="class")).label_names == (
        "cat",
        "dog",
    )
    with pytest.raises(DataError, match=r"no column 'label'; its columns: class"):
        load_images(source, metadata=MetadataSpec(labels="column"))


def test_limit_does_not_renumber_classes(labeled):
    source = labeled("dog", "cat")
    assert load_images(source, selection=SelectionSpec(limit=1)).labels == (1,)


def test_given_class_order_wins():
    assert class_indices(("b", "a", None), "label", ("b", "a")) == ((0, 1, None), ("b", "a"))
    assert class_indices(("1", None), "label", ("0", "1")) == ((1, None), ("0", "1"))
    assert class_indices((None, None), "label") == ((None, None), None)


@pytest.mark.parametrize("option", ["labels", "contributors"])
def test_unknown_origins(option):
    with pytest.raises(SettingsError, match="Did you mean 'folder'"):
        MetadataSpec(**{option: "folders"})


def test_impossible_numbers(folder):
    with pytest.raises(SettingsError, match="limit"):
        load_images(folder, selection=SelectionSpec(limit=0))
    with pytest.raises(SettingsError, match="memory"):
        load_images(folder, memory=-1)


def test_an_image_set_is_returned_as_it_is(folder):
    images = load_images(folder, ImageSpec(size=4))
    assert load_images(images) is images
    assert load_images(images, ImageSpec(size=4)) is images
    with pytest.raises(DataError, match="does not have the requested size 8"):
        load_images(images, ImageSpec(size=8))
