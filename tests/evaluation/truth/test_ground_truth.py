"""The ground truth as an artifact: what it accepts, what it keeps, what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from creditline.data.image_set import ImageSet
from creditline.errors import CreditlineError, DamageError, DataError, IndexMismatchError
from creditline.evaluation.truth.files import write_record
from creditline.evaluation.truth.ground_truth import GroundTruth

M, S, N, Q = 10, 2, 6, 4
FILES = ("masks.npy", "losses.npy", "images.csv", "queries.csv", "tables.json")


@pytest.fixture
def masks():
    return np.random.default_rng(0).random((M, N)) < 0.7


@pytest.fixture
def losses():
    return np.random.default_rng(1).random((M, S, Q))


def random_images(n, seed=0, **about):
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
    return ImageSet.from_images(pixels, **about)


@pytest.fixture
def images():
    people = ["Zoë, K.", None, "b", "b", 'say "hi"', None]
    return random_images(N, contributors=people, labels=[0, 1, None, 2, 0, 1])


@pytest.fixture
def queries():
    return [("validation", random_images(3, 1)), ("generated", random_images(1, 2))]


@pytest.fixture
def truth(masks, losses, images, queries):
    return GroundTruth.from_arrays(masks, losses, images, queries)


def test_there_and_back(truth, tmp_path):
    result = GroundTruth.read(truth.write(tmp_path / "truth"))
    for name in ("image_ids", "image_names", "contributors", "labels"):
        assert getattr(result, name) == getattr(truth, name), name
    for name in ("query_ids", "query_names", "query_folders", "recipe"):
        assert getattr(result, name) == getattr(truth, name), name
    assert result.query_folders == ("validation",) * 3 + ("generated",)
    assert (result.masks == truth.masks).all()
    assert (result.losses == truth.losses).all()
    assert result.digest() == truth.digest()
    again = GroundTruth.read(truth.write(tmp_path / "again"))
    for name in FILES:
        assert (tmp_path / "truth" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert again.digest() == result.digest()


def test_names_that_are_formulas_or_hold_line_ends_come_back(masks, losses, queries, tmp_path):
    people = ["=1+1", "'=1", "a\rb", "-2\n", "'quoted'", None]
    images = random_images(N, contributors=people, names=[f"@{i}\r.png" for i in range(N)])
    truth = GroundTruth.from_arrays(masks, losses, images, queries)
    folder = truth.write(tmp_path / "truth")
    result = GroundTruth.read(folder)
    assert result.contributors == truth.contributors
    assert result.image_names == truth.image_names
    assert not any(line.startswith(("=", '"=')) for line in (folder / "images.csv").open("r"))
    assert "'=1+1" in (folder / "images.csv").read_text("utf-8")


def test_arrays_alone_are_enough(masks, losses, tmp_path):
    truth = GroundTruth.from_arrays(masks.astype(int), losses[:, 0])
    assert truth.masks.dtype == bool
    assert truth.losses.shape == (M, 1, Q)
    result = GroundTruth.read(truth.write(tmp_path / "truth"))
    assert result.digest() == truth.digest()
    assert result.image_ids == result.contributors == result.labels == result.query_names == ()
    result.check_index([f"any {i}" for i in range(N)])


@pytest.mark.parametrize("field", ["masks", "losses", "contributors", "query_names", "recipe"])
def test_the_digest_knows_everything(truth, field):
    changes = {
        "masks": np.roll(truth.masks, 1, axis=1),
        "losses": truth.losses + 1e-12,
        "contributors": (None,) * N,
        "query_names": ("a", "b", "c", "d"),
        "recipe": {"subsets": 3},
    }
    assert replace(truth, **{field: changes[field]}).digest() != truth.digest()


def test_what_is_finished_can_be_used(truth, tmp_path):
    losses = truth.losses.copy()
    losses[3:, 1] = np.nan
    losses[9] = np.nan
    partial = replace(truth, losses=losses)
    assert partial.finished.sum() == M - 1 + 3
    part = partial.complete_subsets()
    assert (part.masks == truth.masks[:3]).all()
    assert (part.losses == truth.losses[:3]).all()
    read = GroundTruth.read(partial.write(tmp_path / "partial"))
    assert (read.finished == partial.finished).all()
    with pytest.raises(DataError, match="at least 8 of them; 3 of 10 are finished"):
        partial.check_ranking()
    with pytest.raises(DataError, match="None of 10 subsets is finished"):
        replace(truth, losses=np.full_like(losses, np.nan)).complete_subsets()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, x: (m[0], x), "got \\(6,\\). One row per subset"),
        (lambda m, x: (m * 2, x), "only 0 and 1; got int64"),
        (lambda m, x: (m.astype(str), x), "only 0 and 1; got <U5"),
        (lambda m, x: (m & (np.arange(M) != 4)[:, None], x), "Subset 4 holds no image"),
        (lambda m, x: (m[:9], x), "each of 9 subsets; got shape \\(10, 2, 4"),
        (lambda m, x: (m, x.transpose(1, 0, 2)), "each of 10 subsets.*another order"),
        (lambda m, x: (m, x[0, 0]), r"\(subsets, queries\) or .*\(4,\)"),
        (lambda m, x: (m, x.astype(str)), "Losses are numbers"),
        (lambda m, x: (m, x / (x != x[2, 1, 3])), "query 3 in subset 2, seed 1 is infinite"),
        (lambda m, x: (m[:7], x[:7]), "at least 8 of them; 7 of 7"),
        (
            lambda m, x: (m, x * (np.arange(Q) != 3)),
            r"query 3 \(generated/00000.png\) is the same under all 10 subsets",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_arrays_that_make_no_sense_are_refused(masks, losses, images, queries, change, message):
    with pytest.raises(DataError, match=message):
        GroundTruth.from_arrays(*change(masks, losses), images, queries)


def test_lists_that_do_not_fit_are_refused(masks, losses, images, queries):
    with pytest.raises(DataError, match="masks have 6 images; image_ids has 5 entries"):
        GroundTruth.from_arrays(masks, losses, images.subset(range(5)), queries)
    with pytest.raises(DataError, match="losses have 4 queries; query_ids has 3 entries"):
        GroundTruth.from_arrays(masks, losses, images, queries[:1])


def test_other_images_and_queries_are_refused(truth, images):
    truth.check_index(images.ids)
    with pytest.raises(IndexMismatchError, match="has 6 images and the index has 5"):
        truth.check_index(images.ids[:5])
    with pytest.raises(IndexMismatchError, match="in another order, from number 1 on"):
        truth.check_index([images.ids[i] for i in (0, 2, 1, 3, 4, 5)])
    with pytest.raises(IndexMismatchError, match=r"number 5, 00005\.png in the ground truth"):
        truth.check_index([*images.ids[:5], "other"])
    truth.check_queries(truth.query_ids)
    with pytest.raises(IndexMismatchError, match="has 4 queries and the list of queries has 1"):
        truth.check_queries(truth.query_ids[:1])


def test_damaged_folders_are_refused(truth, tmp_path):
    with pytest.raises(CreditlineError, match="creditline evaluate retrain"):
        GroundTruth.read(tmp_path)
    folder = truth.write(tmp_path / "truth")
    with pytest.raises(IndexMismatchError, match="holds a ground truth made from something else"):
        replace(truth, recipe={"other": 1}).write(folder)
    (folder / "losses.npy").write_bytes(b"")
    with pytest.raises(DamageError, match=r"losses\.npy is damaged"):
        GroundTruth.read(folder)
    truth.write(folder)
    (folder / "images.csv").write_text("id,name\n", "utf-8")
    with pytest.raises(DamageError, match=r"images\.csv is damaged"):
        GroundTruth.read(folder)
    write_record(folder)
    with pytest.raises(DataError, match="columns id, name, contributor, label"):
        GroundTruth.read(folder)
    truth.write(folder)
    rows = (folder / "queries.csv").read_text("utf-8").splitlines()
    (folder / "queries.csv").write_text("\n".join(rows[:-1]) + "\n", "utf-8")
    write_record(folder)
    with pytest.raises(DataError, match="query_ids has 3 entries"):
        GroundTruth.read(folder)


def test_the_part_of_one_folder():
    losses = np.random.default_rng(1).random((8, 2, 3))
    masks = np.random.default_rng(2).random((8, 5)) < 0.5
    masks[:, 0] = True
    truth = GroundTruth(
        masks,
        losses,
        query_ids=("a", "b", "c"),
        query_names=("1", "2", "3"),
        query_folders=("validation", "generated", "validation"),
    )
    part = truth.of_folder("validation")
    assert np.array_equal(part.losses, losses[:, :, [0, 2]])
    assert part.query_names == ("1", "3")
    assert part.digest() != truth.digest()
    with pytest.raises(DataError, match="called 'test'; it has: validation, generated"):
        truth.of_folder("test")
