"""The manifest: what a folder of results was made from, and whether another request is the same.

Training runs, generated images, indexes and ground truths each keep one, so each can be
interrupted, continued, refused and understood in the same way.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from creditline import fingerprint
from creditline.errors import CreditlineError, IndexMismatchError, difference
from creditline.files import ASIDE, write_file

SCHEMA = 1
NAME = "manifest.json"
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


@dataclass(frozen=True)
class Manifest:
    """Contents of `manifest.json`.

    Attributes:
        kind: what the folder holds.
        request: everything that decides the contents; folders with equal requests are equal.
            Compared on resume.
        facts: what is good to know but changes nothing: sources, versions, times, layers.
        status: `"building"` or `"complete"`.
    """

    kind: Kind
    request: Mapping[str, Any]
    facts: Mapping[str, Any]
    status: str = "building"

    def write(self, folder: Path) -> None:
        """Write atomically: a reader sees the old manifest or the new, never a part."""
        text = json.dumps(
            {
                "schema": SCHEMA,
                "kind": self.kind,
                "status": self.status,
                "request": self.request,
                "facts": self.facts,
            },
            indent=2,
            ensure_ascii=False,
        )
        write_file(folder / NAME, lambda p: p.write_text(text + "\n", "utf-8"), overwrite=True)

    @classmethod
    def read(cls, folder: Path, kind: Kind) -> Manifest:
        """Read the manifest of a folder.

        Raises:
            CreditlineError: if there is none, it is not JSON, of another kind or another schema.
        """
        path, command = folder / NAME, f"creditline {COMMANDS[kind]}"
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
            values = json.loads(path.read_text(encoding="utf-8"))
            schema, actual, status = values["schema"], values["kind"], values["status"]
            request, facts = values["request"], values["facts"]
        except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise CreditlineError(
                f"{path} cannot be read ({error}). Restore it from a backup, or make the folder "
                f"again with `{command}`."
            ) from error
        if schema != SCHEMA:
            raise CreditlineError(
                f"{path} has schema {schema}, this version reads {SCHEMA}. Use the version of "
                f"Creditline that wrote it ({facts.get('versions', {}).get('creditline')})."
            )
        if actual != kind:
            raise CreditlineError(
                f"{folder} holds {NOUNS.get(actual, actual)}, not {NOUNS[kind]}; it was written by "
                f"`creditline {COMMANDS.get(actual, actual)}`."
            )
        return cls(kind, request, facts, status)

    def require_same(self, request: Mapping[str, Any], folder: Path) -> None:
        """Refuse a request that differs from the one on disk.

        Raises:
            IndexMismatchError: listing both values of every difference.
        """
        lines = difference(dict(self.request), json.loads(json.dumps(request)))
        if lines:
            raise IndexMismatchError(
                f"{folder} holds {NOUNS[self.kind]} made from something else:\n"
                + "\n".join(lines)
                + "\nUse another --out, or --overwrite to replace it."
            )


def claim(manifest: Manifest, folder: Path, overwrite: bool = False) -> bool:
    """Make `folder` the place of a manifest's work, new or continued.

    Args:
        manifest: of what is about to be made.
        folder: where.
        overwrite: replace what was made from another request.

    Returns:
        Whether the work is already complete.

    Raises:
        IndexMismatchError: if the folder holds the same kind of thing from another request.
        CreditlineError: if it holds anything else.
    """
    if folder.exists() and not folder.is_dir():
        raise CreditlineError(f"--out {folder} is a file. Name a folder that does not exist yet.")
    for scrap in folder.glob(f"{ASIDE}*"):  # of a killed process
        shutil.rmtree(scrap, ignore_errors=True)
    if (folder / NAME).is_file():
        existing = Manifest.read(folder, manifest.kind)
        try:
            existing.require_same(manifest.request, folder)
            return existing.status == "complete"
        except IndexMismatchError:
            if not overwrite:
                raise
            shutil.rmtree(folder)
    elif folder.is_dir() and any(folder.iterdir()):
        raise CreditlineError(
            f"--out {folder} exists and was not written by `creditline "
            f"{COMMANDS[manifest.kind]}`. Name a new folder; nothing was changed."
        )
    folder.mkdir(parents=True, exist_ok=True)
    manifest.write(folder)
    return False


def circumstances() -> dict[str, Any]:
    """Time, versions and revision, for `facts`."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": fingerprint.versions(),
        "git_revision": fingerprint.git_revision(),
    }
