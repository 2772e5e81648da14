"""The manifest: what a folder of results was made from, and whether another request is the same.

Training runs, generated images, indexes and ground truths each keep one, so each can be
interrupted, continued, refused and understood in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from creditline import fingerprint
from creditline.checksum import damaged
from creditline.errors import AccessError, CreditlineError, IndexMismatchError, difference
from creditline.json_schema import JsonSchema, obj
from creditline.manifest_schema import check_manifest
from creditline.stored_json import CHECKSUM, is_intact, read_json, write_json

SCHEMA = 2
NAME = "manifest.json"
LARGEST = 2**30
"""Bytes of a manifest that are read."""
Kind = Literal["run", "images", "index", "ground-truth", "counterfactual"]
COMMANDS = {
    "run": "train",
    "images": "generate",
    "index": "index",
    "ground-truth": "evaluate retrain",
    "counterfactual": "evaluate counterfactual",
}
NOUNS = {
    "run": "a training run",
    "images": "generated images",
    "index": "an index",
    "ground-truth": "a ground truth",
    "counterfactual": "a counterfactual",
}


ANY_KIND = JsonSchema(obj({"kind": {"enum": list(NOUNS)}}))


@dataclass(frozen=True)
class Manifest:
    """Contents of `manifest.json`.

    Attributes:
        kind: what the folder holds.
        request: everything that decides the contents; folders with equal requests are equal.
            Compared on resume.
        facts: what is good to know but changes nothing: sources, versions, times, layers.
        status: `"building"`, `"complete"`, or `"clearing"` while what was there before is deleted.
    """

    kind: Kind
    request: Mapping[str, Any]
    facts: Mapping[str, Any]
    status: str = "building"

    def write(self, folder: Path) -> None:
        """Write atomically: a reader sees the old manifest or the new, never a part."""
        values = {
            "schema": SCHEMA,
            "kind": self.kind,
            "status": self.status,
            "request": self.request,
            "facts": self.facts,
        }
        write_json(folder / NAME, values)

    @classmethod
    def read(cls, folder: Path, kind: Kind, clearing: bool = False) -> Manifest:
        """Read the manifest of a folder, and check every value that is used.

        Args:
            folder: where it is.
            kind: what the folder should hold.
            clearing: also read one whose folder still holds what was there before.

        Raises:
            DamageError: if its contents are not those that were written.
            CreditlineError: if there is none, it is of another kind or another schema, a value is
                not what it has to be, or the folder is being cleared.
        """
        path, command = folder / NAME, f"creditline {COMMANDS[kind]}"
        advice = f"Restore it from a backup, or make the folder again with `{command}`."
        if not folder.exists():
            raise CreditlineError(
                f"{folder} does not exist. Give the folder that --out of `{command}` named."
            )
        if not path.is_file():
            raise CreditlineError(
                f"{folder} was not written by `{command}`: it has no {NAME}. "
                f"Give the folder that its --out named."
            )
        try:
            values = _load(path)
            schema, actual, status = values["schema"], values["kind"], values["status"]
            request, facts = values["request"], values["facts"]
        except PermissionError as error:
            raise AccessError(
                f"{path} may not be read by you. Ask its owner for the permission."
            ) from error
        except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
            raise damaged(path, advice, str(error)) from error
        if not is_intact(values) and (CHECKSUM in values or schema == SCHEMA):
            raise damaged(path, advice)
        if schema != SCHEMA:
            version = facts.get("versions") if isinstance(facts, dict) else None
            writer = version.get("creditline") if isinstance(version, dict) else None
            raise CreditlineError(
                f"{path} has schema {schema!r}, this version reads {SCHEMA}. Use the version of "
                f"Creditline that wrote it ({writer}), or make the folder again with `{command}`."
            )
        if actual != kind:
            named = actual if isinstance(actual, str) else "something else"
            raise CreditlineError(
                f"{folder} holds {NOUNS.get(named, named)}, not {NOUNS[kind]}; it was written by "
                f"`creditline {COMMANDS.get(named, named)}`."
            )
        check_manifest(values, kind, path)
        if status == "clearing" and not clearing:
            raise CreditlineError(
                f"{folder} is being replaced, or that was interrupted. Run the `{command}` command "
                "again that was to replace it."
            )
        return cls(kind, request, facts, status)

    @classmethod
    def read_any(cls, folder: Path, clearing: bool = False) -> Manifest:
        """Read the manifest of a folder, whatever the folder holds; see `read`."""
        path = folder / NAME
        kind = read_json(path, "Restore it from a backup.", ANY_KIND)["kind"]
        return cls.read(folder, kind, clearing)

    def differences(self, request: Mapping[str, Any]) -> list[str]:
        """Lines of text, one for every value in which another request differs."""
        return difference(dict(self.request), json.loads(json.dumps(request)))

    def require_same(self, request: Mapping[str, Any], folder: Path) -> None:
        """Refuse a request that differs from the one on disk.

        Raises:
            IndexMismatchError: listing both values of every difference.
        """
        lines = self.differences(request)
        if lines:
            raise IndexMismatchError(
                f"{folder} holds {NOUNS[self.kind]} made from something else:\n"
                + "\n".join(lines)
                + "\nUse another --out, or --overwrite to replace it."
            )


def _load(path: Path) -> Any:
    """Parse a manifest.

    Raises:
        ValueError: if it is not JSON or too large.
    """
    if path.stat().st_size > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    return json.loads(path.read_text(encoding="utf-8"))


def circumstances() -> dict[str, Any]:
    """Time, versions and revision, for `facts`."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": fingerprint.versions(),
        "git_revision": fingerprint.git_revision(),
    }
