"""The training log: one JSON line per step, without gaps or repeats however often a run stops."""

from __future__ import annotations

import json
from pathlib import Path

from creditline.files import write_file

NAME = "log.jsonl"


class TrainLog:
    """`log.jsonl` of a run: step (counted from 1), loss before its update, learning rate."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def rewind(self, step: int) -> None:
        """Drop what was logged after `step`: those steps are about to be taken again."""
        kept = []
        if self.path.is_file():
            for line in self.path.read_text("utf-8").splitlines():
                try:
                    if json.loads(line)["step"] > step:
                        break
                except (json.JSONDecodeError, KeyError, TypeError):
                    break  # a line cut short by a full disk or a killed process
                kept.append(line + "\n")
        write_file(
            self.path, lambda draft: draft.write_text("".join(kept), "utf-8"), overwrite=True
        )

    def append(self, step: int, loss: float, rate: float) -> None:
        """Log a step. Done before the update it belongs to, so that no saved step lacks a line."""
        with open(self.path, "a", encoding="utf-8") as log:
            log.write(json.dumps({"step": step, "loss": loss, "rate": rate}) + "\n")
