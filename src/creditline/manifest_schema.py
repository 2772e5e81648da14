"""What a manifest may hold: types, ranges and patterns of every value that is used.

A folder may come from a stranger. So no value names a place inside it but a fingerprint, sizes are
limited before anything is allocated, and options of models do not include permissions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from creditline.errors import CreditlineError

COUNT, MODELS, DIM, SIDE = 2**40, 10_000, 2**31, 2**16
"""Largest numbers of images, models, dimensions and pixels of a side."""
Schema = dict[str, Any]


def _object(required: Mapping[str, Any], **optional: Any) -> Schema:
    properties = {**required, **optional}
    return {"type": "object", "properties": properties, "required": list(required)}


def _list(items: Schema, most: int = COUNT) -> Schema:
    return {"type": "array", "items": items, "maxItems": most}


def _integer(low: int, high: int = COUNT) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [{"type": "null"}, schema]}


FINGERPRINT: Schema = {"type": "string", "pattern": r"^[0-9a-f]{32}\Z"}
NAME: Schema = {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9 _.+-]{0,99}\Z"}
TEXT: Schema = {"type": "string", "maxLength": 100_000}
PLACE: Schema = {"type": "string", "maxLength": 4096, "pattern": r"^[^\x00]*\Z"}
ANY: Schema = {"type": "object"}
IMAGES = _object({"fingerprint": FINGERPRINT, "n": _integer(1)})
OPTIONS: Schema = {
    **_object(
        {},
        dtype={"enum": ["float16", "bfloat16", "float32", "float64"]},
        pipeline=PLACE,
        lora={"type": "object", "additionalProperties": PLACE},
        variant=NAME,
        encoding=ANY,
    ),
    "additionalProperties": False,
}
"""Options with which a model is loaded again. Permissions are given anew by the caller."""
FACTS: Mapping[str, Schema] = {
    "created": TEXT,
    "versions": {"type": "object", "additionalProperties": TEXT},
    "git_revision": _or_null(TEXT),
}
SHARED = {"config": ANY}

INDEX_REQUEST = _object(
    {
        "method": _object({"name": TEXT, "settings": ANY}),
        "images": _object(
            {
                "fingerprint": FINGERPRINT,
                "n": _integer(1),
                "shape": {**_list(_integer(1, SIDE), 3), "minItems": 3},
                "spec": ANY,
            },
            described=FINGERPRINT,
            masks=FINGERPRINT,
        ),
        "models": _list(
            _object(
                {"fingerprint": FINGERPRINT},
                learning_rate=_or_null({"type": "number", "minimum": 0}),
            ),
            MODELS,
        ),
        "features": _object(
            {
                "kind": NAME,
                "models": _integer(0, MODELS),
                "dim": _integer(0, DIM),
                "halves": {"type": "boolean"},
                "shard_rows": _integer(1),
            },
            sets={
                "type": "object",
                "propertyNames": NAME,
                "additionalProperties": _integer(1, DIM),
            },
        ),
    },
    subsets=FINGERPRINT,
)
INDEX_FACTS = _object(
    {"model_sources": _list(_or_null(PLACE), MODELS), "data_source": PLACE},
    **FACTS,
    model_options=_or_null(_list(OPTIONS, MODELS)),
    duplicates=_list(_list(_integer(0))),
    skipped=_list({**_list(TEXT, 2), "minItems": 2}),
    label_names=_or_null(_list(TEXT)),
    prompt_template=TEXT,
    parameters=_integer(0, 2**60),
    blocks=_list({"type": "array"}),
    projection=_or_null(FINGERPRINT),
    table_version=_integer(1),
    table_checksum=FINGERPRINT,
    changes=_list(ANY),
    purge=_list(FINGERPRINT),
)
COMPLETE_INDEX = {
    "required": ["duplicates", "skipped", "blocks", "table_version", "table_checksum"]
}
RUN_REQUEST = _object({**SHARED, "images": IMAGES}, base=_object({"fingerprint": FINGERPRINT}))
RUN_FACTS = _object(
    {}, **FACTS, data_source=_or_null(PLACE), base_source=_or_null(PLACE), base_options=OPTIONS
)
IMAGES_REQUEST = _object(
    {
        "config": _object(
            {
                "steps": _integer(1, 10**6),
                "eta": {"type": "number", "minimum": 0, "maximum": 1},
                "seed": _integer(0, 2**64),
                "trajectory": {"type": "boolean"},
            },
            guidance={"type": "number"},
            negative_prompt=TEXT,
        ),
        "n": _integer(1),
        "labels": _or_null(_list(_integer(0, 2**31))),
        "model": FINGERPRINT,
        "sampler": TEXT,
    },
    prompts=_list(TEXT),
    guidance={"type": "number"},
)
TRUTH_REQUEST: Schema = {
    "anyOf": [
        _object({"arrays": FINGERPRINT}),
        _object(
            {
                "images": IMAGES,
                "queries": {"type": "object", "additionalProperties": IMAGES},
                "subsets": ANY,
                "training": ANY,
                "losses": ANY,
            }
        ),
    ]
}
TRUTH_FACTS = _object(
    {},
    **FACTS,
    subsets=_integer(0),
    seeds=_integer(0),
    models_kept={"type": "boolean"},
)
COUNTERFACTUAL_REQUEST = _object({**SHARED, "images": FINGERPRINT, "targets": ANY})
KINDS: Mapping[str, tuple[Schema, Schema]] = {
    "index": (INDEX_REQUEST, INDEX_FACTS),
    "run": (RUN_REQUEST, RUN_FACTS),
    "images": (IMAGES_REQUEST, _object({}, **FACTS, model_source=_or_null(PLACE))),
    "ground-truth": (TRUTH_REQUEST, TRUTH_FACTS),
    "counterfactual": (COUNTERFACTUAL_REQUEST, _object({}, **FACTS)),
}


def check_manifest(values: Mapping[str, Any], kind: str, path: Path) -> None:
    """Refuse a manifest with a value that its kind cannot have.

    Args:
        values: contents of the file.
        kind: of the manifest.
        path: of the file.

    Raises:
        CreditlineError: naming the value.
    """
    from jsonschema.exceptions import relevance

    is_complete = values.get("status") == "complete"
    errors = _validator(kind, is_complete).iter_errors(values)
    error = max(errors, key=relevance, default=None)
    if error is None:
        return
    while error.context:  # of the alternatives, the one that fits best
        error = max(error.context, key=lambda e: (len(e.absolute_path), e.validator != "type"))
    field = ".".join(str(part) for part in error.absolute_path)
    raise CreditlineError(
        f"{path} is not a manifest that Creditline wrote: {field or 'it'} has the value "
        f"{_short(error.instance)}, which is wrong ({_short(error.validator)}: "
        f"{_short(error.validator_value)}). Restore the file from a backup, or make the folder "
        "again; do not use a folder of a stranger that says this."
    )


@cache
def _validator(kind: str, is_complete: bool) -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": lambda _, value: _is_integer(value), "number": lambda _, v: _is_finite(v)}
    )
    request, facts = KINDS[kind]
    if kind == "index" and is_complete:
        facts = {"allOf": [facts, COMPLETE_INDEX]}
    schema = _object(
        {
            "status": {"enum": ["building", "complete", "clearing"]},
            "request": request,
            "facts": facts,
        }
    )
    return extend(Draft202012Validator, type_checker=types)(schema)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
