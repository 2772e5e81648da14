from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from creditline.credit.totals import tally
from creditline.errors import CreditlineError, DamageError, SettingsError
from creditline.records import Hit, MethodCard, QueryTrace
from creditline.stored_json import OBJECT, read_json, with_checksum, write_json
from creditline.trace import Trace


def make_trace(
    queries=2, top=3, name="train/{:03d}.png", text=None, causal=True, columns=None
) -> Trace:
    """Random scores over 40 training images by three artists and one unknown."""
    rng = np.random.default_rng(7)
    groups = {
        "contributor": [("Ada", "Ben", "Cleo", None)[i % 4] for i in range(40)],
        "label": [("round", "square")[i % 2] for i in range(40)],
    }

    def query(i: int) -> QueryTrace:
        scores = rng.normal(0.002, 0.01, 40)
        order = np.argsort(-scores)

        def hits(rows: np.ndarray) -> tuple[Hit, ...]:
            artists, kinds = groups.values()
            zs = (scores - scores.mean()) / scores.std()
            return tuple(
                Hit(
                    *(int(row), "ab", name.format(row), artists[row], text, kinds[row]),
                    *(float(scores[row]), rank + 1, float(zs[row]), b"an image"),
                    columns=columns or {},
                )
                for rank, row in enumerate(rows)
            )

        return QueryTrace(
            id="cd",
            name=f"{i}.png",
            text=text,
            image=b"an image",
            proponents=hits(order[:top]),
            opponents=hits(order[::-1][:top]),
            totals={key: tally(scores, values, order[:top]) for key, values in groups.items()},
            mean=float(scores.mean()),
            std=float(scores.std()),
            n_positive=int((scores > 0).sum()),
            details={"seed": i},
        )

    card = MethodCard("name", "Title", "paper", "formula", causal)
    settings = {"data": {"size": 8}, "features": {"plan": {"timesteps": 10}, "dim": None}}
    return Trace(card, settings, 40, tuple(query(i) for i in range(queries)), "today", "1")


def test_a_frame_has_one_row_per_query_and_hit():
    trace = make_trace(queries=2, top=3)
    frame = trace.to_pandas()
    assert len(frame) == 2 * (3 + 3)
    assert "image" not in frame
    first = frame[(frame["query"] == 1) & (frame["list"] == "proponents")]
    assert list(first["rank"]) == [1, 2, 3]
    assert list(first["row"]) == [hit.row for hit in trace[1].proponents]
    assert (frame["sign"] == np.sign(frame["score"])).all()
    assert (frame.loc[frame["list"] == "opponents", "sign"] == -1).all()


def test_by_lists_every_group_of_every_query():
    trace = make_trace(queries=3)
    frame = trace.by("contributor")
    assert len(frame) == 3 * 4
    assert frame.groupby("query")["share"].sum().to_numpy() == pytest.approx(np.ones(3))
    assert set(trace.by("label")["label"]) == {"round", "square"}


def test_by_an_unknown_column_suggests_the_nearest():
    with pytest.raises(SettingsError, match="Did you mean 'contributor'"):
        make_trace().by("contributer")


def test_overall_counts_every_query_alike():
    trace = make_trace(queries=4)
    overall = {total.name: total for total in trace.overall("contributor")}
    frame = trace.by("contributor")
    ada = frame[frame["contributor"] == "Ada"]
    assert overall["Ada"].share == pytest.approx(ada["share"].mean())
    assert overall["Ada"].score == pytest.approx(ada["score"].sum())
    assert overall["Ada"].n == 10
    assert sum(total.share for total in overall.values()) == pytest.approx(1)


def test_json_reads_back_equal(tmp_path):
    trace = make_trace(text="ein Bär 🎨")
    path = trace.to_json(tmp_path / "new" / "trace.json")
    assert Trace.from_json(path) == trace


def test_metadata_columns_survive_json(tmp_path):
    columns = {"license": "CC BY", "url": 'https://example.org/ä?x="1"', "year": None, "": ""}
    trace = make_trace(columns=columns)
    read = Trace.from_json(trace.to_json(tmp_path / "trace.json"))
    assert read == trace
    assert read[0].proponents[0].columns == columns


def test_a_trace_without_metadata_columns_is_read(tmp_path):
    trace = make_trace()
    values = read_json(trace.to_json(tmp_path / "new.json"), "", OBJECT)
    for query in values["queries"]:
        for hit in (*query["proponents"], *query["opponents"]):
            del hit["columns"]
    write_json(tmp_path / "old.json", values)
    assert Trace.from_json(tmp_path / "old.json") == trace


@pytest.mark.parametrize(
    "columns",
    [
        None,
        [],
        "license",
        {"a": 1},
        {"a": ["b"]},
        {"a": {"b": "c"}},
        {"a": "x" * 2001},
        {"n" * 2001: "x"},
        {f"{i}": "x" for i in range(101)},
    ],
    ids=lambda value: f"{value!r:.20}",
)
def test_hostile_metadata_columns_are_refused(tmp_path, columns):
    values = read_json(make_trace().to_json(tmp_path / "trace.json"), "", OBJECT)
    values["queries"][0]["opponents"][0]["columns"] = columns
    write_json(tmp_path / "trace.json", values)
    with pytest.raises(DamageError, match=r"queries\.0\.opponents\.0\.columns"):
        Trace.from_json(tmp_path / "trace.json")


@pytest.mark.parametrize("half", [0xD800, 0xDBFF, 0xDC00, 0xDFFF])
def test_text_that_no_file_can_hold_is_refused(tmp_path, half):
    values = read_json(make_trace().to_json(tmp_path / "trace.json"), "", OBJECT)
    values["queries"][0]["proponents"][0]["text"] = f"half a pair: {chr(half)}"
    plain, checksum = with_checksum(values)
    (tmp_path / "trace.json").write_text(json.dumps({**plain, "checksum": checksum}), "utf-8")
    with pytest.raises(DamageError, match="surrogates not allowed"):
        Trace.from_json(tmp_path / "trace.json")
    values["queries"][0]["proponents"][0]["text"] = "a pair: 🎨"
    plain, checksum = with_checksum(values)
    (tmp_path / "trace.json").write_text(json.dumps({**plain, "checksum": checksum}), "utf-8")
    assert Trace.from_json(tmp_path / "trace.json")[0].proponents[0].text == "a pair: 🎨"


def test_metadata_columns_are_one_column_of_json_in_tables(tmp_path):
    columns = {"license": "=CC BY", "year": None, "name": "ä"}
    trace = make_trace(columns=columns)
    frame = trace.to_pandas()
    assert [json.loads(text) for text in frame["columns"]] == [columns] * len(frame)
    assert list(frame["name"]) == [hit.name for q in trace for hit in (*q.proponents, *q.opponents)]
    for read in (
        pd.read_csv(trace.to_csv(tmp_path / "t.csv")),
        pd.read_parquet(trace.to_parquet(tmp_path / "t.parquet")),
    ):
        assert list(read["columns"]) == list(frame["columns"])
    assert "columns" not in make_trace().to_pandas()


def test_a_changed_trace_is_refused(tmp_path):
    path = make_trace().to_json(tmp_path / "trace.json")
    text = path.read_text("utf-8")
    for old, new in (('"n_train": 40', '"n_train": 41'), ('"score": 0.', '"score": 1.')):
        path.write_text(text.replace(old, new, 1), "utf-8")
        with pytest.raises(DamageError, match="does not hold what was written"):
            Trace.from_json(path)


def test_csv_and_parquet_hold_the_frame(tmp_path):
    trace = make_trace(name='a "quoted", name {}.png')
    frame = trace.to_pandas()
    read = pd.read_csv(trace.to_csv(tmp_path / "t.csv"))
    pd.testing.assert_frame_equal(read[["name", "score", "z"]], frame[["name", "score", "z"]])
    read = pd.read_parquet(trace.to_parquet(tmp_path / "t.parquet"))
    pd.testing.assert_frame_equal(read[["row", "sign"]], frame[["row", "sign"]])
    assert list(read["contributor"]) == list(frame["contributor"])


@pytest.mark.parametrize("kind", ["csv", "parquet", "json"])
def test_an_existing_file_is_replaced_only_when_asked(tmp_path, kind):
    trace, path = make_trace(), tmp_path / f"trace.{kind}"
    path.write_text("precious")
    write = getattr(trace, f"to_{kind}")
    with pytest.raises(SettingsError, match="exists"):
        write(path)
    assert path.read_text() == "precious"
    assert write(path, overwrite=True) == path
    assert path.stat().st_size > len("precious")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_folder_is_not_overwritten_by_a_file(tmp_path):
    with pytest.raises(SettingsError, match="folder"):
        make_trace().to_csv(tmp_path, overwrite=True)


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"format": "creditline-trace-1"})])
def test_another_file_is_not_read_as_a_trace(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(DamageError, match=r"other\.json"):
        Trace.from_json(path)


def test_the_text_form_says_what_a_score_means():
    trace = make_trace(queries=12)
    text = repr(trace)
    assert "owes most to" in text
    assert "4 more" in text
    assert trace.method.meaning in text
    similar = repr(make_trace(causal=False))
    assert "is most similar to" in similar
    assert "owes" not in similar


def test_an_empty_trace_is_still_a_trace():
    trace = make_trace(queries=0)
    assert len(trace.to_pandas()) == 0
    assert "0 query images" in repr(trace)
    with pytest.raises(CreditlineError, match="at least one"):
        trace.by("contributor")
