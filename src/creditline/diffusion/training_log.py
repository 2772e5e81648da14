"""The training log: one JSON line per step, without gaps or repetitions after a restart."""

from __future__ import annotations

import json
from pathlib import Path

from creditline.files import flush, write_file

NAME = "log.jsonl"


class TrainingLog:
    """`log.jsonl` of a run: step (counted from 1), loss before its update, learning rate.

    Args:
        folder: folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def rewind(self, step: int) -> None:
        """Drop the lines after `step`: these steps will be taken again."""
        lines: list[str] = []
        if self.path.is_file():
            for line in self.path.read_text("utf-8").splitlines():
                try:
                    if json.loads(line)["step"] > step:
                        break
                except (json.JSONDecodeError, KeyError, TypeError):
                    break  # truncated by a full disk or a killed process
                lines.append(line + "\n")
        write_file(
            self.path, lambda draft: draft.write_text("".join(lines), "utf-8"), overwrite=True
        )

    def append(self, step: int, loss: float, rate: float) -> None:
        """Log a step, before its update, so that every saved step has a line."""
        with open(self.path, "a", encoding="utf-8") as log:
            log.write(json.dumps({"step": step, "loss": loss, "rate": rate}) + "\n")

    def flush(self) -> None:
        """Write the log to the disk, before what is stored of its steps."""
        flush(self.path)
