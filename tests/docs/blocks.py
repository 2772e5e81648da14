"""Code blocks of the docs: found, read as commands, and run."""

from __future__ import annotations

import glob
import re
import shlex
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from click.testing import CliRunner

from creditline.cli import main

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
)
RUNNABLE = ("python", "bash", "console")
FENCE = re.compile(
    r"^(?:<!-- docs-test: skip \((?P<reason>[^)]+)\) -->\n)?```(?P<language>\w+)[^\n]*\n"
    r"(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
INDENTED = re.compile(r"^ {4}(creditline [^\n]*)$", re.MULTILINE)
# What takes minutes in the docs takes a moment here.
SHORTER = {
    "demo:icons --sample 100 --sample-each contributor": "data/icons",
    "--timesteps 100": "--timesteps 3",
    "--workers 2": "--workers 1",
    "creditline index sd": "creditline index --dim 64 sd",
    "creditline index runs/tuned": "creditline index --dim 64 runs/tuned",
    "-n 16": "-n 2",
    "-n 4": "-n 2",
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, first line, language, code, and why it does not run, if so."""

    page: str
    line: int
    language: str
    code: str
    reason: str | None

    @property
    def commands(self) -> list[str]:
        """The command lines, without prompts, output and comments."""
        if self.language == "python":
            return []
        lines = self.code.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in (re.sub(r"\s#.*$", "", line).strip() for line in lines) if line]


@cache
def blocks(page: str) -> tuple[Block, ...]:
    """The fenced blocks of a page that hold code or commands."""
    text = (ROOT / page).read_text("utf-8")
    return tuple(
        Block(page, text.count("\n", 0, m.start()) + 1, m["language"], m["code"], m["reason"])
        for m in FENCE.finditer(text)
        if m["language"] in RUNNABLE and "--8<--" not in m["code"]  # the file has tests of its own
    )


def command_lines(page: str) -> list[str]:
    """Every line of a page that starts with `creditline`, in fenced and indented blocks."""
    text = (ROOT / page).read_text("utf-8")
    lines = [line for block in blocks(page) for line in block.commands]
    lines += [re.sub(r"\s+#.*$", "", line) for line in INDENTED.findall(text)]
    return [line for line in lines if line.startswith("creditline ")]


def shorten(text: str) -> str:
    """Code or command with smaller settings."""
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    return text


def run(block: Block, module: ModuleType) -> None:
    """Run a block in the current folder, Python in the namespace of `module`.

    Raises:
        AssertionError: if a command fails, or is not one of creditline's.
    """
    if block.language == "python":
        place = f"{block.page}:{block.line}"
        exec(compile(shorten(block.code), place, "exec"), module.__dict__)
        return
    for line in block.commands:
        tokens = shlex.split(shorten(line))
        assert tokens[0] == "creditline", f"{block.page}: only creditline commands run: {line}"
        arguments = [name for token in tokens[1:] for name in _expand(token)]
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert result.exit_code == 0, f"{block.page}: {line}\n{result.output}"


def page_module(page: str) -> ModuleType:
    """A module for the Python blocks of a page, importable so that classes can be found again."""
    name = "docs_page_" + re.sub(r"\W", "_", page)
    module = ModuleType(name)
    sys.modules[name] = module
    return module


def _expand(word: str) -> list[str]:
    return sorted(glob.glob(word)) or [word] if "*" in word else [word]
