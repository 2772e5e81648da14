"""Manifests of strangers: every value is what it has to be, or one error names it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from tests.manifests import KIND_FACTS, REQUESTS, X

from creditline.errors import CreditlineError
from creditline.manifest import NAME, SCHEMA, Manifest
from creditline.stored_json import write_json

WRONG = (
    None,
    True,
    -1,
    1.5,
    1e30,
    10**30,
    "",
    "../../x",
    "/etc/passwd",
    X + "\n",
    [],
    [1],
    {},
    {"a": 1},
)


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Path of every value inside another."""
    if path:
        yield path
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


def changed(kind: str, path: tuple, value: Any) -> dict[str, Any]:
    manifest = {"schema": SCHEMA, "kind": kind, "status": "complete"}
    manifest |= {"request": REQUESTS[kind], "facts": KIND_FACTS[kind]}
    manifest = copy.deepcopy(manifest)
    place: Any = manifest
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return manifest


@pytest.mark.slow
def test_no_mutation_of_a_value_ends_in_another_error(tmp_path):
    refused = read = longest = 0
    for kind, request in REQUESTS.items():
        manifest = {
            "request": request,
            "facts": KIND_FACTS[kind],
            "status": 1,
            "schema": 1,
            "kind": 1,
        }
        for path in places(manifest):
            for value in WRONG:
                write_json(tmp_path / NAME, changed(kind, path, value))
                try:
                    Manifest.read(tmp_path, kind)
                    read += 1
                except CreditlineError as error:
                    refused += 1
                    longest = max(longest, len(str(error)))
    assert refused > 600
    assert longest < 1000
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("index", "request.images.fingerprint", "/tmp/victim"),
        ("index", "request.images.fingerprint", "../../victim"),
        ("index", "request.images.fingerprint", X + "\n"),
        ("index", "request.images.fingerprint", X.upper()),
        ("index", "request.images.n", 1e9),
        ("index", "request.images.shape", [3, 8]),
        ("index", "request.features.models", 1e30),
        ("index", "request.features.models", 10**30),
        ("index", "request.features.dim", -1),
        ("index", "request.features.sets", {"../x": 1}),
        ("index", "request.features.halves", "yes"),
        ("index", "request.method.name", 3),
        ("index", "facts.table_version", "x"),
        ("index", "facts.table_version", -1),
        ("index", "facts.table_version", True),
        ("index", "facts.model_options", [{"allow_pickle": True}]),
        ("index", "facts.model_options", [{"trust_remote_code": True}]),
        ("index", "facts.model_options", [{"dtype": "load"}]),
        ("index", "facts.model_options", ["x"]),
        ("index", "facts.model_options.0.variant", "../x"),
        ("index", "facts.model_sources", ["a\x00b"]),
        ("index", "facts.data_source", {"a": 1}),
        ("index", "facts.label_names", 5),
        ("index", "facts.blocks", None),
        ("index", "facts.changes", "x"),
        ("run", "request.images.n", "many"),
        ("run", "request.base.fingerprint", 3),
        ("run", "facts.base_options", {"allow_pickle": True}),
        ("images", "request.n", 1e9),
        ("images", "request.labels", "01"),
        ("images", "request.config.seed", -1),
        ("images", "request.config.eta", float("inf")),
        ("ground-truth", "request.queries.q.n", []),
        ("counterfactual", "request.images", None),
    ],
)
def test_the_error_names_the_value(tmp_path, kind, path, value):
    keys = tuple(int(key) if key.isdecimal() else key for key in path.split("."))
    write_json(tmp_path / NAME, changed(kind, keys, value))
    with pytest.raises(CreditlineError, match=r"is not a manifest that Creditline wrote") as caught:
        Manifest.read(tmp_path, kind)
    if kind != "ground-truth":  # which has alternatives
        assert path in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a": NaN}', '{"schema": 1' + "0" * 5000 + "}", '"\\ud800"']
)
def test_strange_json_is_damage(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    with pytest.raises(CreditlineError, match="is damaged"):
        Manifest.read(tmp_path, "run")
