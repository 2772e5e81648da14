"""What a manifest may hold: types, ranges and patterns of every value that is used.

A folder may come from a stranger. So no value names a place inside it but a fingerprint, sizes are
limited before anything is allocated, and options of models do not include permissions.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from creditline.errors import CreditlineError
from creditline.json_schema import (
    ANY,
    BOOL,
    DIM,
    FINGERPRINT,
    NUMBER,
    TEXT,
    JsonSchema,
    Schema,
    array,
    integer,
    obj,
    or_null,
)

MODELS, SIDE = 10_000, 2**16
"""Largest numbers of models and pixels of a side."""
NAME: Schema = {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9 _.+-]{0,99}\Z"}
PLACE: Schema = {"type": "string", "maxLength": 4096, "pattern": r"^[^\x00]*\Z"}
IMAGES = obj({"fingerprint": FINGERPRINT, "n": integer(1)})
OPTIONS: Schema = {
    **obj(
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
    "git_revision": or_null(TEXT),
}
SHARED = {"config": ANY}

INDEX_REQUEST = obj(
    {
        "method": obj({"name": TEXT, "settings": ANY}),
        "images": obj(
            {
                "fingerprint": FINGERPRINT,
                "n": integer(1),
                "shape": {**array(integer(1, SIDE), 3), "minItems": 3},
                "spec": ANY,
            },
            described=FINGERPRINT,
            masks=FINGERPRINT,
            captions=FINGERPRINT,
        ),
        "models": array(
            obj(
                {"fingerprint": FINGERPRINT},
                learning_rate=or_null({"type": "number", "minimum": 0}),
            ),
            MODELS,
        ),
        "features": obj(
            {
                "kind": NAME,
                "models": integer(0, MODELS),
                "dim": integer(0, DIM),
                "halves": BOOL,
                "shard_rows": integer(1),
            },
            sets={
                "type": "object",
                "propertyNames": NAME,
                "additionalProperties": integer(1, DIM),
            },
            bits={**array({"enum": [16, 8, 4, 2, 1]}), "minItems": 1},
        ),
    },
    subsets=FINGERPRINT,
)
INDEX_FACTS = obj(
    {"model_sources": array(or_null(PLACE), MODELS), "data_source": PLACE},
    **FACTS,
    model_options=or_null(array(OPTIONS, MODELS)),
    duplicates=array(array(integer(0))),
    skipped=array({**array(TEXT, 2), "minItems": 2}),
    label_names=or_null(array(TEXT)),
    prompt_template=TEXT,
    parameters=integer(0, 2**60),
    blocks=array({"type": "array"}),
    projection=or_null(FINGERPRINT),
    table_version=integer(1),
    table_checksum=FINGERPRINT,
    changes=array(ANY),
    purge=array(FINGERPRINT),
)
COMPLETE_INDEX = {
    "required": ["duplicates", "skipped", "blocks", "table_version", "table_checksum"]
}
SCHEDULE = obj(
    {
        "steps": integer(1),
        "batch_size": integer(1),
        "learning_rate": {"type": "number", "exclusiveMinimum": 0},
        "warmup": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
    }
)
"""What of a training's settings is read again, for SOURCE."""
RUN_REQUEST = obj({"config": SCHEDULE, "images": IMAGES}, base=obj({"fingerprint": FINGERPRINT}))
RUN_FACTS = obj(
    {}, **FACTS, data_source=or_null(PLACE), base_source=or_null(PLACE), base_options=OPTIONS
)
IMAGES_REQUEST = obj(
    {
        "config": obj(
            {
                "steps": integer(1, 10**6),
                "eta": {"type": "number", "minimum": 0, "maximum": 1},
                "seed": integer(0, 2**64),
                "trajectory": BOOL,
            },
            guidance=NUMBER,
            negative_prompt=TEXT,
        ),
        "n": integer(1),
        "labels": or_null(array(integer(0, 2**31))),
        "model": FINGERPRINT,
        "sampler": TEXT,
    },
    prompts=array(TEXT),
    guidance=NUMBER,
)
TRUTH_REQUEST: Schema = {
    "anyOf": [
        obj({"arrays": FINGERPRINT}),
        obj(
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
TRUTH_FACTS = obj(
    {},
    **FACTS,
    subsets=integer(0),
    seeds=integer(0),
    models_kept=BOOL,
)
COUNTERFACTUAL_REQUEST = obj({**SHARED, "images": FINGERPRINT, "targets": ANY})
KINDS: Mapping[str, tuple[Schema, Schema]] = {
    "index": (INDEX_REQUEST, INDEX_FACTS),
    "run": (RUN_REQUEST, RUN_FACTS),
    "images": (IMAGES_REQUEST, obj({}, **FACTS, model_source=or_null(PLACE))),
    "ground-truth": (TRUTH_REQUEST, TRUTH_FACTS),
    "counterfactual": (COUNTERFACTUAL_REQUEST, obj({}, **FACTS)),
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
    fault = _schema(kind, values.get("status") == "complete").fault(values)
    if fault is not None:
        raise CreditlineError(
            f"{path} is not a manifest that Creditline wrote: {fault}. Restore the file from a "
            "backup, or make the folder again; do not use a folder of a stranger that says this."
        )


@cache
def _schema(kind: str, is_complete: bool) -> JsonSchema:
    request, facts = KINDS[kind]
    if kind == "index" and is_complete:
        facts = {"allOf": [facts, COMPLETE_INDEX]}
    status = {"enum": ["building", "complete", "clearing"]}
    return JsonSchema(obj({"status": status, "request": request, "facts": facts}))
