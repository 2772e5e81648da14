"""The manifest: what an index was built from, and whether another request is the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from creditline import fingerprint
from creditline.errors import CreditlineError, IndexMismatchError, difference
from creditline.files import write_file

SCHEMA = 1
NAME = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """Contents of `manifest.json`.

    Attributes:
        request: everything that decides the index's contents; two indexes with equal requests
            are equal. Compared on resume.
        facts: what is good to know but changes nothing: sources, versions, times, layers.
        status: `"building"` or `"complete"`.
    """

    request: Mapping[str, Any]
    facts: Mapping[str, Any]
    status: str = "building"

    def write(self, folder: Path) -> None:
        """Write atomically: a reader sees the old manifest or the new, never a part."""
        text = json.dumps(
            {
                "schema": SCHEMA,
                "status": self.status,
                "request": self.request,
                "facts": self.facts,
            },
            indent=2,
            ensure_ascii=False,
        )
        write_file(folder / NAME, lambda p: p.write_text(text + "\n", "utf-8"), overwrite=True)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of an index folder.

        Raises:
            CreditlineError: if there is none, it is not JSON, or of a newer schema.
        """
        path = folder / NAME
        if not path.is_file():
            raise CreditlineError(
                f"{folder} is not an index: it has no {NAME}. "
                "Give the folder that `creditline index --out` wrote."
            )
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            schema, status = values["schema"], values["status"]
            request, facts = values["request"], values["facts"]
        except (json.JSONDecodeError, KeyError, UnicodeDecodeError) as error:
            raise CreditlineError(
                f"{path} cannot be read ({error}). Restore it from a backup or index again."
            ) from error
        if schema != SCHEMA:
            raise CreditlineError(
                f"{path} has schema {schema}, this version reads {SCHEMA}. Use the version of "
                f"Creditline that wrote it ({facts.get('versions', {}).get('creditline')})."
            )
        return cls(request, facts, status)

    def require_same(self, request: Mapping[str, Any], folder: Path) -> None:
        """Refuse a request that differs from the one on disk.

        Raises:
            IndexMismatchError: listing both values of every difference.
        """
        lines = difference(dict(self.request), json.loads(json.dumps(request)))
        if lines:
            raise IndexMismatchError(
                f"{folder} holds an index made from something else:\n" + "\n".join(lines) + "\n"
                "Use another --out, or --overwrite to replace it."
            )


def circumstances() -> dict[str, Any]:
    """Time, versions and revision, for `facts`."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": fingerprint.versions(),
        "git_revision": fingerprint.git_revision(),
    }
