"""Valid manifests of every kind, small."""

from __future__ import annotations

from typing import Any

X = "0123456789abcdef" * 2
CONFIG: dict[str, Any] = {"steps": 2, "shape": [1, 2], "name": "Zoë"}
SCHEDULE = {"batch_size": 2, "learning_rate": 0.1, "warmup": 0.0}
FACTS: dict[str, Any] = {"versions": {"creditline": "0.0.7"}}
IMAGES = {"fingerprint": X, "n": 3}
REQUESTS: dict[str, dict[str, Any]] = {
    "run": {"config": {**CONFIG, **SCHEDULE}, "images": IMAGES, "base": {"fingerprint": X}},
    "images": {
        "config": {"steps": 3, "eta": 0.0, "seed": 1, "trajectory": False},
        "n": 3,
        "labels": [0, 1, 0],
        "model": X,
        "sampler": "DDIM",
    },
    "index": {
        "method": {"name": "d-trak", "settings": {}},
        "images": {**IMAGES, "shape": [3, 8, 8], "spec": {}, "described": X},
        "models": [{"fingerprint": X, "learning_rate": None}],
        "features": {
            "kind": "gradients",
            "models": 1,
            "dim": 4,
            "halves": True,
            "sets": {"one": 2, "two": 2},
            "shard_rows": 2,
        },
    },
    "ground-truth": {
        "images": IMAGES,
        "queries": {"q": IMAGES},
        "subsets": {"scheme": "random"},
        "training": {"config": CONFIG},
        "losses": {},
    },
    "counterfactual": {"config": CONFIG, "base": None, "images": X, "targets": {"ids": [X]}},
}
KIND_FACTS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(REQUESTS, FACTS),
    "index": {
        **FACTS,
        "model_sources": ["/models/a"],
        "model_options": [{"dtype": "float16", "variant": "fp16", "lora": {"a": "/b"}}],
        "data_source": "memory",
        "duplicates": [[0, 1]],
        "skipped": [["a.png", "truncated"]],
        "label_names": None,
        "blocks": [["*", 4, 0, None]],
        "projection": None,
        "table_version": 1,
        "table_checksum": X,
        "changes": [{"added": 2}],
    },
}
