"""A tiny benchmark made, packed, run, and run again."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tests.benchmarks.tiny import TINY

import creditline as cl
from creditline.benchmarks import build as building
from creditline.benchmarks import get, group_index, groups, sampling_runs
from creditline.benchmarks import run as running
from creditline.benchmarks.page import page
from creditline.benchmarks.run import run, subset_methods
from creditline.benchmarks.shipped import find, pack, unpack
from creditline.cli.benchmark import command
from creditline.errors import CreditlineError, DataError, SettingsError
from creditline.evaluation.lds.config import LDSConfig
from creditline.runtime import Runtime


def test_draws_are_disjoint_and_use_everything(benchmark_images):
    sets = building.image_sets(TINY, benchmark_images)
    assert [len(sets[name]) for name in ("train", "validation", "base")] == [8, 4, 28]
    assert len({key for images in sets.values() for key in images.ids}) == 40


def test_subsets_are_trained_with_as_many_passes():
    assert TINY.subset_config.steps == 4
    assert replace(TINY.subset_config, steps=8) == TINY.config


def test_every_method_is_judged_once_and_kept(tiny_benchmark, benchmark_images, tmp_path):
    said = []
    options = {"data": benchmark_images, "timesteps": (2,), "contest": LDSConfig(resamples=10)}
    results = run(tiny_benchmark, tmp_path / "out", say=said.append, **options)
    judged = [
        (part["name"], entry["method"])
        for result in results
        for part in result.comparison["groups"]
        for entry in part["methods"]
    ]
    for name in ("d-trak", "trak", "relative-if", "gas", "datamodel", "empirical-influence"):
        assert judged.count(("validation", name)) == 1, name
        assert judged.count(("generated", name)) == 1, name
    assert judged.count(("generated, sampling runs", "journey-trak")) == 1
    assert all(result.seconds > 0 for result in results)
    text = page(results)
    assert text.count("| D-TRAK | 2 |") == 4, "by LDS and by totals, for either set of queries"
    assert text.count("| Journey-TRAK | 2 |") == 1
    before = len(said)
    again = run(tiny_benchmark, tmp_path / "out", say=said.append, **options)
    assert [r.comparison for r in again] == [r.comparison for r in results]
    assert len(said) == before, "nothing is done again"


@pytest.mark.parametrize(("levels", "judged"), [(1, True), (2, False)])
def test_sampling_runs_are_recognized_by_their_images_up_to_rounding(
    tiny_benchmark, benchmark_images, tmp_path, monkeypatch, levels, judged
):
    """As on a machine that rounds otherwise."""
    original = sampling_runs.generate

    def rounding(*args, **options):
        folder = original(*args, **options)
        path = sorted(folder.glob("*.png"))[0]
        pixels = np.array(Image.open(path))
        value = int(pixels[0, 0, 0])
        pixels[0, 0, 0] = value + levels if value < 128 else value - levels
        Image.fromarray(pixels).save(path)
        return folder

    monkeypatch.setattr(sampling_runs, "generate", rounding)
    monkeypatch.setattr(groups, "GROUPS", (("trak",),))
    said = []
    options = {"data": benchmark_images, "timesteps": (2,), "contest": LDSConfig(resamples=10)}
    (result,) = run(tiny_benchmark, tmp_path / "out", say=said.append, **options)
    names = [part["name"] for part in result.comparison["groups"]]
    assert ("generated, sampling runs" in names) == judged
    assert any("up to 2 levels apart" in line for line in said) == (not judged)


def test_an_ensemble_trains_its_further_models_once(tiny_benchmark, benchmark_images, tmp_path):
    said = []
    options = {"data": benchmark_images, "timesteps": (2,), "contest": LDSConfig(resamples=10)}
    alone = run(tiny_benchmark, tmp_path / "out", say=said.append, **options)
    results = run(tiny_benchmark, tmp_path / "out", ensemble=2, say=said.append, **options)
    assert [r.models for r in results] == [1, 1, 1, 2, 2]
    assert [r.comparison for r in results[:3]] == [r.comparison for r in alone]
    assert said.count("model 2 of 2: 8 steps") == 2, "one announcement per index"
    trained = tmp_path / "out" / "ensemble" / "seed-1"
    made = json.loads((trained / "manifest.json").read_text("utf-8"))
    assert made["request"]["config"]["seed"] == 1
    assert made["request"]["base"], "it starts from the same base"
    for lone, joint in zip(alone[:2], results[3:], strict=True):
        a, b = (r.comparison["groups"][0]["methods"][0] for r in (lone, joint))
        assert a["method"] == b["method"]
        assert a["per_query"] != b["per_query"]
    text = page(results)
    assert text.count("| D-TRAK, 2 models | 2 |") == 4
    assert text.count("| Random |") == 4, "once by each ground truth"
    assert "Random, 2 models" not in text
    with pytest.raises(SettingsError, match="ensemble must be at least 1"):
        run(tiny_benchmark, tmp_path / "out", ensemble=0, **options)


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
        patch.setattr("creditline.benchmarks.shipped.os.replace", broken)
        with pytest.raises(KeyboardInterrupt):
            unpack(tiny_benchmark, out)
    assert not list(tmp_path.iterdir())
    out.mkdir()
    unpack(tiny_benchmark, out)
    assert (out / "truth" / "masks.npy").is_file()
    (out / "truth" / "masks.npy").unlink()
    unpack(tiny_benchmark, out)
    assert not (out / "truth" / "masks.npy").exists(), "what is there is left alone"


def test_what_cannot_learn_is_left_out(tiny_benchmark):
    said, truth = [], tiny_benchmark.truth()
    fair = np.random.default_rng(0).random(truth.masks.shape) < 0.5
    learnt = subset_methods(replace(truth, masks=fair), LDSConfig(), said.append)
    assert learnt == ("empirical-influence", "datamodel", "datamodel-lasso")
    assert not said
    fair[:, 3] = np.arange(len(fair)) == 5  # in no subset of the fit that leaves that one out
    learnt = subset_methods(replace(truth, masks=fair), LDSConfig(), said.append)
    assert learnt == ("datamodel", "datamodel-lasso")
    assert "some image is in all or none of the subsets to learn from; 16 are finished" in said[0]


def test_a_kept_result_knows_its_methods_and_the_device_reaches_models(
    tiny_benchmark, benchmark_images, tmp_path, monkeypatch
):
    devices = []
    original = group_index.load_model

    def loading(source, device="cpu"):
        devices.append(device)
        return original(source)

    monkeypatch.setattr(group_index, "load_model", loading)
    monkeypatch.setattr(running, "sampling_runs", lambda *_: None)
    monkeypatch.setattr(groups, "GROUPS", (("trak",),))
    options = {"data": benchmark_images, "contest": LDSConfig(resamples=10), "say": lambda _: None}
    run(tiny_benchmark, tmp_path, timesteps=(1, 2), runtime=Runtime(device="cpu:0"), **options)
    assert devices == ["cpu:0"] * 2
    (only,) = run(tiny_benchmark, tmp_path, timesteps=(2,), **options)
    judged = {entry["method"] for entry in only.comparison["groups"][0]["methods"]}
    assert "datamodel" in judged, "the result of 2 timesteps after 1 holds no learnt method"


def test_building_goes_on_from_what_ships(tiny_benchmark, benchmark_images, tmp_path, monkeypatch):
    truth = tiny_benchmark.truth()
    losses = truth.losses.copy()
    losses[3, 1] = np.nan
    partial = pack(TINY, tiny_benchmark.folder, tmp_path / "partial", benchmark_images)
    np.save(partial.folder / "truth" / "losses.npy", losses)
    unpack(partial, tmp_path / "again")
    monkeypatch.setattr("creditline.diffusion.train.Run", lambda *a: pytest.fail("trained again"))
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
        np.save(path, losses)
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


def test_totals_are_judged_where_shares_differ(tiny_benchmark, benchmark_images, tmp_path):
    options = {
        "data": benchmark_images,
        "timesteps": (2,),
        "contest": LDSConfig(resamples=10),
    }
    results = run(tiny_benchmark, tmp_path / "out", say=lambda _: None, **options)
    d_trak = results[0].comparison["shares"]
    assert d_trak["subsets"] == 9
    entry = d_trak["groups"][0]["methods"][0]
    assert entry["totals_per_contributor"]["lds"] != entry["lds"]
    text = page(results)
    assert text.count("contributors' totals judged by 9 subsets in which their shares differ") == 2
    few = pack(TINY, tiny_benchmark.folder, tmp_path / "few", benchmark_images)
    path = few.folder / "shares" / "losses.npy"
    losses = np.load(path)
    losses[7:] = np.nan
    np.save(path, losses)
    said = []
    results = run(few, tmp_path / "fewer", say=said.append, **options)
    assert "contributors' totals need 8 finished subsets to be judged; there are 7" in said
    assert "contributors' totals" not in page(results)


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


def test_options_of_the_command_that_do_nothing_are_refused(tmp_path):
    def refused(*words):
        result = CliRunner().invoke(command, ["icons", *words])
        assert isinstance(result.exception, CreditlineError)
        return str(result.exception)

    build = ("--build", str(tmp_path / "built"))
    assert "--out and --timesteps with --build" in refused(*build, "--out", "a", "--timesteps", "3")
    assert "--markdown with --build" in refused(*build, "--markdown", "a")
    assert "--resamples with --build" in refused(*build, "--resamples", "9")
    assert "holds no benchmark" in refused(*build, "--from", str(tmp_path / "mistyped"))
    assert not (tmp_path / "built").exists()
