"""Find words that do not belong to this project's vocabulary.

    python -m tools.vocabulary            every use, as path:line:column
    python -m tools.vocabulary --counts   the number of uses of each word, and of each folder
    python -m tools.vocabulary FILE ...   these files only

Three things are checked: words and phrases of text and identifiers (`TERMS`), British spellings
(`SPELLINGS`), and participles as names of classes, functions, arguments and variables
(`PARTICIPLES`). A line that ends in the comment `vocabulary: allow` is skipped.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ALLOW = "vocabulary: allow"
FOLDERS = ("src", "tests", "docs", "tools", "examples")
FILES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "Makefile", "mkdocs.yml")
FILES = (*FILES, "pyproject.toml")
SUFFIXES = {".py", ".md", ".html", ".css", ".js", ".yml", ".toml"}
# These pages and tests are about the words themselves.
EXEMPT = {
    "CHANGELOG.md",
    "docs/contributing/style.md",
    "tools/vocabulary.py",
    "tests/tools/test_vocabulary.py",
}

TERMS = {
    "chequerboard": "split-half noise estimate",
    "come and go": "are added or removed",
    "by heart": "memorize",
    "fleet": "retrained models, retraining",
    "foresight": "prediction",
    "foretell": "predict",
    "foretold": "predicted",
    "fresh weights": "from scratch",
    "halves of the noise": "split-half noise estimate",
    "in words": "as text, description",
    "learnt": "fitted, learned",
    "less the mean": "mean-centered",
    "likeness": "similarity",
    "look alike": "are similar",
    "looks alike": "is similar",
    "parted": "split",
    "pass back": "backward pass",
    "picture": "image, query image, training image",
    "reckon": "estimate",
    "same bits": "bitwise deterministic, bitwise equal",
    "score shape": "score transform",
    "so many": "N, the number of",
    "tell apart": "distinguish",
    "tells apart": "distinguishes",
    "tell the truth": "evaluation",
    "told apart": "distinguished",
    "way back": "backward pass",
    "whole gradient": "explicit gradient",
}
SPELLINGS = {
    "analyse": "analyze",
    "behaviour": "behavior",
    "catalogue": "catalog",
    "centre": "center",
    "colour": "color",
    "favour": "favor",
    "generalise": "generalize",
    "grey": "gray",
    "initialise": "initialize",
    "labelled": "labeled",
    "licence": "license",
    "memorise": "memorize",
    "minimise": "minimize",
    "modelled": "modeled",
    "neighbour": "neighbor",
    "normalis": "normaliz",
    "optimis": "optimiz",
    "organis": "organiz",
    "randomis": "randomiz",
    "recognis": "recogniz",
    "regularis": "regulariz",
    "serialis": "serializ",
    "summaris": "summariz",
}
# fmt: off
PARTICIPLES = {
    "asked", "chosen", "described", "drawn", "fitted", "found", "gathered", "given", "kept",
    "learnt", "made", "parted", "recorded", "scored", "settled", "shipped", "shown", "sketched",
    "taken", "told", "wanted", "whole",
}
# fmt: on

_FORBIDDEN = {**TERMS, **SPELLINGS}


def _expression(word: str) -> str:
    """A phrase may be broken between lines; a stem like "optimis" needs its British ending."""
    ending = "(?=[aei])" if word in SPELLINGS and word.endswith("is") else ""
    return re.escape(word).replace(r"\ ", r"[\s_-]+") + ending


_PATTERN = re.compile(
    "(?<![A-Za-z])(?:" + "|".join(map(_expression, sorted(_FORBIDDEN, key=len)[::-1])) + ")",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Use:
    """One use of a word: where, which, and what to write instead."""

    path: str
    line: int
    column: int
    word: str
    instead: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}:{self.column}"
        return f"{place}: {self.word!r}; write {self.instead}"


def check(text: str, path: str) -> list[Use]:
    """Uses in the text of a file, in order."""
    lines = text.splitlines()
    uses = [*_words(text, path), *(_names(text, path) if path.endswith(".py") else ())]
    return sorted(
        (use for use in uses if not lines[use.line - 1].rstrip(" ->*/").endswith(ALLOW)),
        key=lambda use: (use.line, use.column),
    )


def project_files() -> Iterator[Path]:
    """Every file of the project that is checked."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and path.relative_to(ROOT).as_posix() not in EXEMPT:
                yield path
    yield from (ROOT / name for name in FILES if name not in EXEMPT and (ROOT / name).is_file())


def main(arguments: Sequence[str] | None = None) -> int:
    """Print uses, or their counts; return 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--counts", action="store_true", help="print numbers instead of places")
    options = parser.parse_args(arguments)
    uses = [
        use
        for path in options.files or project_files()
        for use in check(path.read_text("utf-8"), _relative(path))
    ]
    if options.counts:
        for by in (lambda use: use.word.lower().strip("_"), lambda use: _folder(use.path)):
            for name, count in Counter(map(by, uses)).most_common():
                print(f"{count:6}  {name}")
            print()
    else:
        print(*uses, sep="\n")
    print(f"{len(uses)} uses of words that are not in the vocabulary", file=sys.stderr)
    return 1 if uses else 0


def _words(text: str, path: str) -> Iterator[Use]:
    for match in _PATTERN.finditer(text):
        word = re.sub(r"[\s_-]+", " ", match[0].lower())
        line = text.count("\n", 0, match.start()) + 1
        column = match.start() - text.rfind("\n", 0, match.start())
        yield Use(path, line, column, word, _FORBIDDEN[word])


def _names(text: str, path: str) -> Iterator[Use]:
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                pass
            case ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                pass
            case _:
                continue
        if name.strip("_").lower() in PARTICIPLES:
            yield Use(path, node.lineno, node.col_offset + 1, name, "a noun, or a verb + object")


def _folder(path: str) -> str:
    """The room of a file: `src/creditline/data`, `tests/data`, `README.md`."""
    return "/".join(path.split("/")[: 3 if path.startswith("src/") else 2])


def _relative(path: Path) -> str:
    path = path.resolve()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    sys.exit(main())
