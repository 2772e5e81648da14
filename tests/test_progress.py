"""Progress is shown on standard error, rarely in a file, and not at all on request."""

from __future__ import annotations

from creditline.progress import Progress


def test_it_shows_label_count_and_notes(capsys, monkeypatch):
    monkeypatch.delenv("CREDITLINE_PROGRESS", raising=False)
    with Progress("index", 3, "image", done=1) as bar:
        bar.advance()
        bar.advance(loss="0.25")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "index: 100%" in captured.err
    assert "3/3" in captured.err
    assert "loss=0.25" in captured.err


def test_a_file_gets_few_lines(capsys, monkeypatch):
    monkeypatch.delenv("CREDITLINE_PROGRESS", raising=False)
    with Progress("train", 5000) as bar:
        for _ in range(5000):
            bar.advance(loss=1)
    assert capsys.readouterr().err.count("train:") <= 3


def test_it_can_be_silenced(capsys, monkeypatch):
    monkeypatch.setenv("CREDITLINE_PROGRESS", "0")
    with Progress("index", 3) as bar:
        bar.advance(3)
    assert capsys.readouterr().err == ""
