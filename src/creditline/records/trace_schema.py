"""What the file of a trace may hold."""

from __future__ import annotations

from creditline.json_schema import (
    ANY,
    BOOL,
    NUMBER,
    TEXT,
    JsonSchema,
    Schema,
    array,
    integer,
    mapping,
    obj,
    or_null,
)
from creditline.records.hit import LONGEST_VALUE, MOST_COLUMNS

IMAGE = {"type": "string", "maxLength": 2**30}
"""PNG bytes as base64."""
OPTIONAL_TEXT, OPTIONAL_NUMBER = or_null(TEXT), or_null(NUMBER)
VALUE: Schema = {"type": "string", "maxLength": LONGEST_VALUE}
COLUMNS: Schema = {**mapping(or_null(VALUE), VALUE), "maxProperties": MOST_COLUMNS}
"""Further metadata of a training image."""
HIT = obj(
    {
        "row": integer(0),
        "id": TEXT,
        "name": TEXT,
        "contributor": OPTIONAL_TEXT,
        "text": OPTIONAL_TEXT,
        "label": OPTIONAL_TEXT,
        "score": NUMBER,
        "rank": integer(1),
        "z": NUMBER,
        "image": IMAGE,
    },
    self_influence=OPTIONAL_NUMBER,
    error=OPTIONAL_NUMBER,
    columns=COLUMNS,
)
TOTAL = obj(
    {
        "name": OPTIONAL_TEXT,
        "n": integer(0),
        "score": NUMBER,
        "credit": NUMBER,
        "share": NUMBER,
        "top": integer(0),
    },
    share_error=OPTIONAL_NUMBER,
    chance=OPTIONAL_NUMBER,
)
QUERY = obj(
    {
        "id": TEXT,
        "name": TEXT,
        "text": OPTIONAL_TEXT,
        "image": IMAGE,
        "proponents": array(HIT),
        "opponents": array(HIT),
        "totals": mapping(array(TOTAL), TEXT),
        "mean": NUMBER,
        "std": NUMBER,
        "n_positive": integer(0),
    },
    error=OPTIONAL_NUMBER,
    n_above_noise=or_null(integer(0)),
    reliability=OPTIONAL_NUMBER,
    details=ANY,
    removals=array(obj({"rule": TEXT, "k": integer(0), "change": NUMBER, "image": IMAGE})),
    region=or_null(obj({"id": TEXT, "share": NUMBER, "mask": IMAGE})),
)
CARD = obj(
    {"name": TEXT, "title": TEXT, "paper": TEXT, "formula": TEXT}, causal=BOOL, transform=TEXT
)
TRACE = JsonSchema(
    obj(
        {
            "format": TEXT,
            "method": CARD,
            "settings": mapping(ANY, TEXT),
            "n_train": integer(1),
            "queries": array(QUERY),
            "created": TEXT,
            "version": TEXT,
        }
    )
)
