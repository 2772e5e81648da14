"""Printing: it never fails, comes after the files, and obeys nothing that it prints."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import creditline as cl
from creditline.cli.app import ErrorExit
from creditline.cli.console import echo, prepare_streams
from creditline.cli.table import table
from creditline.data.image_set import ImageSet

EVIL = "\x1b]0;title\x07\u202e\x9b31m\nFAKE ROW  100%"
ACTING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


@pytest.fixture(scope="module")
def evil_index(tmp_path_factory) -> str:
    """A pixel index whose contributors' and images' names act on a terminal."""
    pixels = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    names = [f"{i}{EVIL.replace('/', '')}.png" for i in range(6)]
    people = [f"Žofie {EVIL}" if i % 2 else f"=cmd{i}" for i in range(6)]
    images = ImageSet.from_images(pixels, names=names, contributors=people)
    out = tmp_path_factory.mktemp("evil") / "index"
    return str(cl.index(None, images, method="pixel-dot", out=out).path)


@pytest.fixture
def evil_query(tmp_path) -> str:
    from PIL import Image

    path = tmp_path / f"{EVIL.replace('/', '')}.png"
    pixels = np.random.default_rng(2).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)


@pytest.mark.parametrize("command", ["trace", "search"])
def test_names_do_not_act_on_the_terminal(command, run, evil_index, evil_query):
    output = run(command, evil_index, evil_query).output
    assert ACTING.search(output) is None
    assert not any(line.startswith("FAKE ROW") for line in output.splitlines())
    assert r"\x1b]0;title\x07\u202e\x9b31m\nFAKE" in output or "…" in output


def test_an_error_message_quotes_names_visibly(refused, evil_index, tmp_path):
    bad = tmp_path / f"{EVIL.replace('/', '')}.png"
    bad.write_bytes(b"x")
    message = refused("trace", evil_index, bad)
    assert ACTING.search(message) is None
    assert not any(line.startswith("FAKE ROW") for line in message.splitlines())


def test_the_repr_of_a_trace_shows_names_visibly(evil_index, evil_query):
    assert ACTING.search(repr(cl.open_index(evil_index).trace(evil_query))) is None


def test_exports_have_no_formulas(run, evil_index, evil_query, tmp_path):
    for command in ("trace", "search"):
        target = tmp_path / f"{command}.csv"
        run(command, evil_index, evil_query, "--csv", target)
        text = target.read_text("utf-8")
        assert "'=cmd" in text
        assert not re.search(r'(^|,)"?=cmd', text, re.MULTILINE)


def test_a_stream_without_a_letter_gets_an_escape(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", out)
    prepare_streams()
    echo("Žofie ü")
    out.flush()
    assert out.buffer.getvalue() == b"\\u017dofie \xfc\n"


def test_files_are_written_before_anything_is_printed(
    monkeypatch, evil_index, evil_query, tmp_path
):
    from tests.cli.conftest import invoke

    def fail(*args, **kwargs):
        raise OSError(5, "Input/output error")

    for command, option in (("trace", "--html"), ("trace", "--json"), ("search", "--csv")):
        target = tmp_path / f"{command}{option}"
        monkeypatch.setattr(f"creditline.cli.{command}.echo", fail)
        assert invoke(command, evil_index, evil_query, option, str(target)).exit_code == 2
        assert target.stat().st_size > 100


def test_two_exports_to_one_file_are_refused(refused, index, generated, tmp_path):
    target = tmp_path / "a.html"
    link = tmp_path / "b.html"
    link.symlink_to(target)
    for other in (target, tmp_path / "." / "a.html", link):
        message = refused("trace", index, generated, "--html", target, "--csv", other)
        assert "--html and --csv both name" in message
    assert not target.exists()


def test_cells_of_a_table_stay_in_their_row():
    text = table(["name"], [["a\nb\x1b"]])
    assert text.splitlines() == ["name", r"a\nb\x1b"]


def test_lines_of_a_long_message_are_indented_and_bounded(capsys):
    ErrorExit("first\n" + "x" * 5000 + "\nlast").show()
    printed = capsys.readouterr().err
    assert len(printed) < 2100
    assert printed.startswith("creditline: first\n  x")
    assert printed.endswith("\n  last\n")


def test_commands_print_through_one_function():
    root = Path(cl.__file__).parent.parent
    sources = [*(root / "creditline/cli").rglob("*.py"), *(root / "creditline_research").rglob("*")]
    direct = [
        path.name
        for path in sources
        if path.suffix == ".py" and re.search(r"click\.s?echo|(?<!\w)print\(", path.read_text())
    ]
    assert direct == ["console.py"]
