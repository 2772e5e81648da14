"""A short report of an unexpected error."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from creditline.version import __version__
from creditline.visible import shorten, visible

LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "pylance")


@dataclass(frozen=True)
class Defect:
    """What failed, with which versions, and how to see more.

    Attributes:
        error: that nobody expected.
        arguments: of the command line.
        command: name of the subcommand, where there is one.
    """

    error: Exception
    arguments: Sequence[str]
    command: str | None

    def __str__(self) -> str:
        what = "" if self.command is None else f" in `creditline {self.command}`"
        text = shorten(visible(f"{type(self.error).__name__}: {self.error}"), 500)
        again = shorten(shlex.join(["creditline", "--debug", *self.arguments]), 500)
        return "\n".join(
            [
                f"unexpected error{what}: {text}",
                "This is a defect of Creditline; please report it with these lines.",
                f"creditline {__version__}, {_versions()}",
                f"For the traceback: {again}",
            ]
        )


def _versions() -> str:
    parts = [f"Python {platform.python_version()}", platform.platform(terse=True)]
    for name in LIBRARIES:
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(parts)
