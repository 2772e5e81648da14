"""Projections on a tiny benchmark: compared with an index, stored, refused before work."""

from __future__ import annotations

import pytest

import creditline as cl
from creditline.data.load import load_images
from creditline.errors import SettingsError
from creditline.evaluation.lds.compare import compare_methods
from creditline.evaluation.lds.config import LDSConfig
from creditline.gradients.projection import Projection
from creditline_research.studies import projection_comparison
from creditline_research.studies.projection_comparison import compare_projections
from creditline_research.studies.projections import EXPLICIT, ProjectionStudy
from creditline_research.tables.projections import projection_table

pytestmark = pytest.mark.slow

SETTINGS = ProjectionStudy(
    kinds=("two-sided", "principal", "gaussian"), layouts=("joint", "variance"), dims=(64,),
    ranks=(4,),
)  # fmt: skip


@pytest.fixture(scope="module")
def options(benchmark_images):
    return {
        "settings": SETTINGS,
        "data": benchmark_images,
        "timesteps": (2,),
        "config": LDSConfig(resamples=10),
        "say": lambda _: None,
    }


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("projections")


@pytest.fixture(scope="module")
def rows(tiny_benchmark, out, options):
    return compare_projections(tiny_benchmark, out, **options)


def test_every_projection_of_both_methods(rows):
    assert len(rows) == 2 * (1 + 3 * 2)
    for method in ("TRAK", "D-TRAK"):
        mine = [row for row in rows if row.method == method]
        assert mine[0].projection["projection"] == "none"
        assert mine[0].agreement == pytest.approx(1)
        assert all(-1 <= row.agreement <= 1 for row in mine)
        assert len({row.agreement for row in mine}) == len(mine)
    assert {folder for row in rows for folder in row.lds} == {"validation", "generated"}


@pytest.mark.parametrize("kind", ["two-sided", "principal"])
def test_lds_is_that_of_an_index(rows, tiny_benchmark, benchmark_images, tmp_path, kind):
    train, validation = tiny_benchmark.images(benchmark_images)
    settings = {"projection": kind, "dim": 64, "rank": 4, "timesteps": 2}
    index = cl.index(
        str(tiny_benchmark.model), train, method="d-trak", out=tmp_path / "i", **settings
    )
    queries = [("validation", validation), ("generated", load_images(tiny_benchmark.generated))]
    comparison = compare_methods(
        index, tiny_benchmark.truth(), queries, (), LDSConfig(resamples=10)
    ).to_dict()
    (mine,) = [
        row
        for row in rows
        if (row.method, row.projection["projection"], row.projection["layout"])
        == ("D-TRAK", kind, "joint")
    ]
    for part in comparison["groups"][:2]:
        expected = part["methods"][0]["lds"]
        # The index keeps halves of a number's precision, which may swap two subsets in rank.
        assert mine.lds[part["name"]][0] == pytest.approx(expected, abs=0.02)


def test_the_same_call_computes_nothing_again(rows, tiny_benchmark, out, options, monkeypatch):
    monkeypatch.setattr(
        projection_comparison, "_ExplicitGradients", lambda *_: pytest.fail("computed again")
    )
    again = compare_projections(tiny_benchmark, out, **options)
    assert [row.agreement for row in again] == [row.agreement for row in rows]


def test_the_table_has_a_row_for_each(rows):
    lines = projection_table(rows).splitlines()
    assert len(lines) == 2 + len(rows)
    assert lines[0].endswith("| LDS, validation | LDS, generated |")
    assert "| D-TRAK | 2 | principal | 4 | by layer, variance | 64 | 16 | 128 |" in "\n".join(lines)


def test_wrong_names_are_refused_before_long_work(tiny_benchmark, tmp_path, options):
    for wrong in (
        {"kinds": ("gausian",)},
        {"layouts": ("layers",)},
        {"dims": (0,)},
        {"bits": (3,)},
        {"bits": (1, 2)},
    ):
        with pytest.raises(SettingsError):
            compare_projections(
                tiny_benchmark, tmp_path, **{**options, "settings": ProjectionStudy(**wrong)}
            )
    with pytest.raises(SettingsError, match="smaller than the"):
        compare_projections(
            tiny_benchmark, tmp_path, **{**options, "settings": ProjectionStudy(dims=(10**9,))}
        )
    assert not list(tmp_path.iterdir())


def test_each_yields_a_rank_where_there_are_sides():
    study = ProjectionStudy(kinds=("principal", "gaussian"), ranks=(16, 64))
    projections = [projection for projection, _ in study.each()]
    assert projections[0] == EXPLICIT
    assert sum(p.projection == "principal" for p in projections) == 8
    assert sum(p.projection == "gaussian" for p in projections) == 4
    assert Projection("principal", layout="layers", budget="size", rank=16) in projections


def test_features_of_few_bits_are_judged_by_their_bytes(tiny_benchmark, options, tmp_path):
    """As an index that stores as few bits scores."""
    study = ProjectionStudy(
        kinds=("count-sketch",),
        layouts=("joint",),
        dims=(64, 256),
        bits=(16, 4),
        methods=("gradient-dot",),
    )
    rows = compare_projections(tiny_benchmark, tmp_path / "s", **{**options, "settings": study})
    assert [(row.projection["dim"], row.bits) for row in rows[1:]] == [(64, 16), (256, 4)]
    assert {line.split("|")[8].strip() for line in projection_table(rows).splitlines()[3:]} == {
        "128"
    }
    train, validation = tiny_benchmark.images(options["data"])
    settings = {"projection": "count-sketch", "dim": 256, "bits": 4, "timesteps": 2}
    index = cl.index(
        str(tiny_benchmark.model), train, method="gradient-dot", out=tmp_path / "i", **settings
    )
    queries = [("validation", validation), ("generated", load_images(tiny_benchmark.generated))]
    comparison = compare_methods(
        index, tiny_benchmark.truth(), queries, (), LDSConfig(resamples=10)
    ).to_dict()
    expected = comparison["groups"][0]["methods"][0]["lds"]
    assert rows[2].lds["validation"][0] == pytest.approx(expected, abs=0.02)
