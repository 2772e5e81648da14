"""Fingerprints: short hashes by which weights, data and settings are recognized again."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

LENGTH = 32


def of_bytes(*parts: bytes) -> str:
    """SHA-256 of the parts with their lengths, as 32 hexadecimal characters (128 bits)."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:LENGTH]


def of_json(value: Any) -> str:
    """Fingerprint of a JSON value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return of_bytes(text.encode())


def of_arrays(named: Iterable[tuple[str, np.ndarray]]) -> str:
    """Fingerprint of named arrays: names, types, shapes and bytes, in name order."""
    digest = hashlib.sha256()
    for name, array in sorted(named, key=lambda pair: pair[0]):
        digest.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:LENGTH]


def key64(*parts: object) -> np.ndarray:
    """Two 64-bit words from a hash of `parts`: the key of a counter-based (Philox) generator."""
    text = "\x1f".join(str(part) for part in parts).encode()
    return np.frombuffer(hashlib.sha256(text).digest()[:16], dtype=np.uint64)


def versions() -> dict[str, str]:
    """Versions of everything that can change a number, recorded in every manifest."""
    names = ("creditline", "torch", "diffusers", "numpy", "scipy", "pylance")
    return {"python": sys.version.split()[0], **{name: metadata.version(name) for name in names}}


def git_revision() -> str | None:
    """The commit of the checkout Creditline runs from, or None for an installed package."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
