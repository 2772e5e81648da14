"""A tiny benchmark run, and run again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from tests.benchmarks.tiny import TINY

from creditline.benchmarks import group_index, sampling_runs
from creditline.benchmarks.page import page
from creditline.benchmarks.run import run
from creditline.benchmarks.shipped_benchmark import pack
from creditline.errors import SettingsError
from creditline.evaluation.lds.config import LDSConfig
from creditline.methods import ekfac
from creditline.runtime import Runtime
from creditline.stored_arrays import write_array

pytestmark = pytest.mark.slow

TOYS = "tests.benchmarks.toys"


@pytest.fixture(scope="module", autouse=True)
def small_whitened_features():
    """The network has fewer parameters than the default has dimensions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ekfac, "DIM", 512)
        yield


@pytest.fixture(scope="module")
def options(benchmark_images):
    config = LDSConfig(resamples=10)
    return {"data": benchmark_images, "timesteps": (2,), "config": config, "say": lambda _: None}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def results(tiny_benchmark, out, options):
    """Every method, at two timesteps."""
    return run(tiny_benchmark, out, **options)


def judged(results):
    """Name of the queries and method of every row."""
    return [
        (part["name"], entry["method"])
        for result in results
        for part in result.comparison["groups"]
        for entry in part["methods"]
    ]


def test_every_method_is_judged_once(results):
    rows = judged(results)
    names = ("d-trak", "trak", "relative-if", "gas", "pixel-dot", "datamodel")
    for name in (*names, "empirical-influence"):
        assert rows.count(("validation", name)) == 1, name
        assert rows.count(("generated", name)) == 1, name
    assert rows.count(("generated, sampling runs", "journey-trak")) == 1
    assert all(result.seconds > 0 for result in results if result.timesteps)


def test_the_page_has_a_row_for_each(results):
    text = page(results)
    assert text.count("| D-TRAK | 2 |") == 4, "by LDS and by totals, for either set of queries"
    assert text.count("| Journey-TRAK | 2 |") == 1
    assert text.count("| Random |") == 4, "once by each ground truth"
    assert text.count("| Datamodel (ridge) |  |") == 2, "learns from the ground truth of LDS alone"


def test_the_same_call_computes_nothing_again(results, tiny_benchmark, out, options):
    said = []
    again = run(tiny_benchmark, out, **{**options, "say": said.append})
    assert again == results
    assert not said


def test_totals_are_judged_where_shares_differ(results):
    shares = results[0].comparison["shares"]
    assert shares["subsets"] == 9
    entry = shares["groups"][0]["methods"][0]
    assert entry["totals_per_contributor"]["lds"] != entry["lds"]
    text = page(results)
    assert text.count("contributors' totals judged by 9 subsets in which their shares differ") == 2


def test_totals_need_enough_subsets(tiny_benchmark, benchmark_images, tmp_path, options):
    few = pack(TINY, tiny_benchmark.folder, tmp_path / "few", benchmark_images)
    path = few.folder / "shares" / "losses.npy"
    losses = np.load(path)
    losses[7:] = np.nan
    write_array(path, losses)
    said = []
    results = run(few, tmp_path, names=["pixel-dot"], **{**options, "say": said.append})
    assert "contributors' totals need 8 finished subsets to be judged; there are 7" in said
    assert "contributors' totals" not in page(results)


def test_a_method_that_cannot_learn_is_left_out(
    tiny_benchmark, benchmark_images, tmp_path, options
):
    blind = pack(TINY, tiny_benchmark.folder, tmp_path / "blind", benchmark_images)
    path = blind.folder / "truth" / "masks.npy"
    masks = np.load(path)
    masks[:, 3] = np.arange(len(masks)) == 5  # in no subset of the fit that leaves that one out
    write_array(path, masks)
    said = []
    names = ["empirical-influence", "datamodel"]
    results = run(blind, tmp_path, names=names, **{**options, "say": said.append})
    rows = judged(results)
    assert ("validation", "datamodel") in rows
    assert ("validation", "empirical-influence") not in rows
    assert any(line.startswith("empirical-influence is left out: ") for line in said)


@pytest.mark.parametrize("kind", ["Bilinear", "Model", "Subset"])
def test_a_method_of_any_kind_is_judged_by_its_place(tiny_benchmark, out, results, options, kind):
    own = run(tiny_benchmark, out, names=[f"{TOYS}:Toy{kind}"], **options)
    assert len(own) == 1
    rows = judged(own)
    name = f"toy-{kind.lower()}"
    assert {part for part, method in rows if method == name} >= {"validation", "generated"}
    assert {method for _, method in rows} == {name, "pixel-cosine", "pixel-centered", "random"}
    assert f"| Toy {kind.lower()} |" in page(own)


def test_a_selection_finds_the_index_of_all_methods(tiny_benchmark, out, results, options):
    before = {path: path.stat().st_mtime_ns for path in out.glob("index-*/manifest.json")}
    run(tiny_benchmark, out, names=["gradient-dot"], **options)
    assert {p: p.stat().st_mtime_ns for p in out.glob("index-*/manifest.json")} == before


@pytest.mark.parametrize(("levels", "is_judged"), [(1, True), (2, False)])
def test_sampling_runs_are_recognized_by_their_images_up_to_rounding(
    tiny_benchmark, tmp_path, monkeypatch, options, levels, is_judged
):
    """As on a machine that rounds differently."""
    original = sampling_runs.generate

    def rounding(*args, **settings):
        folder = original(*args, **settings)
        path = sorted(folder.glob("*.png"))[0]
        pixels = np.array(Image.open(path))
        value = int(pixels[0, 0, 0])
        pixels[0, 0, 0] = value + levels if value < 128 else value - levels
        Image.fromarray(pixels).save(path)
        return folder

    monkeypatch.setattr(sampling_runs, "generate", rounding)
    said = []
    results = run(
        tiny_benchmark, tmp_path, names=["journey-trak"], **{**options, "say": said.append}
    )
    assert (("generated, sampling runs", "journey-trak") in judged(results)) == is_judged
    assert any("up to 2 levels apart" in line for line in said) == (not is_judged)


def test_an_ensemble_trains_its_further_models_once(tiny_benchmark, tmp_path, options):
    said = []
    options = {**options, "names": ["d-trak", "gradient-dot"], "say": said.append}
    results = run(tiny_benchmark, tmp_path, ensemble=2, **options)
    assert [r.models for r in results] == [1, 1, 2, 2]
    assert said.count("model 2 of 2: 8 steps") == 2, "one announcement per index"
    manifest = json.loads((tmp_path / "ensemble" / "seed-1" / "manifest.json").read_text("utf-8"))
    assert manifest["request"]["config"]["seed"] == 1
    assert manifest["request"]["base"], "it starts from the same base"
    for single, ensemble in zip(results[:2], results[2:], strict=True):
        a, b = (r.comparison["groups"][0]["methods"][0] for r in (single, ensemble))
        assert a["method"] == b["method"]
        assert a["per_query"] != b["per_query"]
    text = page(results)
    assert text.count("| D-TRAK, 2 models | 2 |") == 4
    assert "Random, 2 models" not in text
    with pytest.raises(SettingsError, match="ensemble must be at least 1"):
        run(tiny_benchmark, tmp_path, ensemble=0, **options)


def test_the_device_reaches_models(tiny_benchmark, tmp_path, monkeypatch, options):
    devices = []
    original = group_index.load_model

    def loading(source, device="cpu"):
        devices.append(device)
        return original(source)

    monkeypatch.setattr(group_index, "load_model", loading)
    options = {**options, "names": ["trak"], "timesteps": (1, 2)}
    run(tiny_benchmark, tmp_path, runtime=Runtime(device="cpu:0"), **options)
    assert devices == ["cpu:0"] * 2
