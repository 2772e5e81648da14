"""A tiny benchmark built, packed, unpacked and continued."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.benchmarks.tiny import CONFIG, TINY

import creditline as cl
from creditline.benchmarks import build as building
from creditline.benchmarks import get
from creditline.benchmarks.shipped_benchmark import ShippedBenchmark, find, pack, unpack
from creditline.errors import CreditlineError, DataError, SettingsError
from creditline.stored_arrays import write_array

pytestmark = pytest.mark.slow


def test_what_ships_is_small_and_without_training_images(tiny_benchmark):
    assert find(TINY, tiny_benchmark.folder) == tiny_benchmark
    names = {
        p.relative_to(tiny_benchmark.folder).parts[0] for p in tiny_benchmark.folder.rglob("*")
    }
    assert names == {"benchmark.json", "base", "full", "generated", "truth", "shares"}
    assert len(list(tiny_benchmark.folder.rglob("*.png"))) == TINY.generated
    assert not list(tiny_benchmark.folder.rglob("trajectories"))
    assert not [p for p in tiny_benchmark.folder.rglob("*.json") if "built" in p.read_text("utf-8")]


def test_packing_deletes_nothing_but_a_benchmark(tiny_benchmark, benchmark_images, tmp_path):
    built = tiny_benchmark.folder.parent / "built"
    for target in (built, built / "full", built.parent):
        with pytest.raises(SettingsError, match="packed outside the folder of the build"):
            pack(TINY, built, target, benchmark_images)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years", "utf-8")
    with pytest.raises(SettingsError, match="holds no benchmark"):
        pack(TINY, built, mine, benchmark_images)
    assert (mine / "thesis.txt").is_file()
    assert (built / "full" / "model").is_dir()
    (mine / "thesis.txt").unlink()
    pack(TINY, built, mine, benchmark_images)
    pack(TINY, built, mine, benchmark_images)


def test_unpacking_fills_an_empty_folder_whole_or_not_at_all(tiny_benchmark, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def broken(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("creditline.benchmarks.shipped_benchmark.os.replace", broken)
        with pytest.raises(KeyboardInterrupt):
            unpack(tiny_benchmark, out)
    assert not list(tmp_path.iterdir())
    out.mkdir()
    unpack(tiny_benchmark, out)
    assert (out / "truth" / "masks.npy").is_file()
    (out / "truth" / "masks.npy").unlink()
    unpack(tiny_benchmark, out)
    assert not (out / "truth" / "masks.npy").exists(), "what is there is left alone"


def test_building_goes_on_from_what_ships(tiny_benchmark, benchmark_images, tmp_path, monkeypatch):
    truth = tiny_benchmark.truth()
    losses = truth.losses.copy()
    losses[3, 1] = np.nan
    partial = pack(TINY, tiny_benchmark.folder, tmp_path / "partial", benchmark_images)
    write_array(partial.folder / "truth" / "losses.npy", losses)
    unpack(partial, tmp_path / "again")
    monkeypatch.setattr(
        "creditline.diffusion.train.TrainingRun", lambda *a: pytest.fail("trained again")
    )
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        building.build(TINY, tmp_path / "again", data=benchmark_images, say=lambda _: None)
    monkeypatch.undo()
    again = building.build(TINY, tmp_path / "again", data=benchmark_images, say=lambda _: None)
    assert np.array_equal(again["truth"].losses, truth.losses)


def test_a_limit_counts_over_all_ground_truths(tiny_benchmark, benchmark_images, tmp_path):
    unpack(tiny_benchmark, tmp_path / "built")
    for name, missing in (("truth", 2), ("shares", 3)):
        path = tmp_path / "built" / name / "losses.npy"
        losses = np.load(path)
        losses[:missing, 0] = np.nan
        write_array(path, losses)
    trained = [
        building.build(
            TINY, tmp_path / "built", data=benchmark_images, limit_tasks=limit, say=lambda _: None
        )
        for limit in (1, 2, 9)
    ]
    assert list(trained[0]) == ["truth"], "the limit is used up"
    assert trained[0]["truth"].finished.sum() == 31
    assert trained[1]["shares"].finished.sum() == 7
    assert trained[2]["shares"].finished.all()
    assert building.count_finished(tmp_path / "nowhere") == 0


def test_images_are_found_by_content_in_any_order(tiny_benchmark, benchmark_images):
    train, validation = tiny_benchmark.images(benchmark_images.subset(range(39, -1, -1)))
    ids = json.loads((tiny_benchmark.folder / "benchmark.json").read_text())
    assert list(train.ids) == ids["train"]
    assert list(validation.ids) == ids["validation"]


def test_wrong_images_and_missing_files(tiny_benchmark, benchmark_images, tmp_path):
    others = cl.ImageSet.from_images(
        255 - benchmark_images.array(), contributors=benchmark_images.contributors
    )
    with pytest.raises(DataError, match="8 of the benchmark's 8 images are not in"):
        tiny_benchmark.images(others)
    with pytest.raises(DataError, match="needs images: --data with CIFAR-10"):
        building.image_sets(get("cifar2-small"))
    with pytest.raises(DataError, match="draws 2 validation images of each contributor"):
        building.image_sets(replace(TINY, base=None), benchmark_images.subset(range(10)))
    with pytest.raises(SettingsError, match="Did you mean 'icons'"):
        get("icon")
    with pytest.raises(CreditlineError, match="holds no benchmark"):
        find(TINY, tmp_path)
    with pytest.raises(CreditlineError, match="has no full/model yet"):
        pack(TINY, tmp_path, tmp_path / "packed", benchmark_images)


def test_generated_images_of_a_conditional_model_are_queries_with_their_classes(
    benchmark_images, tmp_path
):
    conditional = replace(
        TINY,
        each="label",
        config=replace(CONFIG, unet=replace(CONFIG.unet, classes=2)),
        base=None,
    )
    labels = [name == "bob" for name in benchmark_images.contributors]
    images = benchmark_images.labeled([int(x) for x in labels], ("ada", "bob"))
    building.build(conditional, tmp_path, data=images, limit_tasks=0, say=lambda _: None)
    sets = building.image_sets(conditional, images)
    case = ShippedBenchmark(conditional, tmp_path)
    queries = dict(case.query_sets(sets["train"], sets["validation"]))
    assert queries["generated"].labels == (0, 1)
    assert queries["validation"].labels == sets["validation"].labels
