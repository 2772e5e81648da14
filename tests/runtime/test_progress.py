"""Progress goes to a terminal, a file, a callback or nowhere, and always ends with a whole line."""

from __future__ import annotations

import sys

import pytest

from creditline.runtime import CallbackSink, Runtime, SilentSink, TerminalSink
from creditline.runtime import progress as module


def test_a_file_gets_whole_lines_with_label_count_and_notes(capsys):
    with Runtime(sink=TerminalSink()).progress("index", 3, "image", done=1) as task:
        task.advance()
        task.advance(loss="0.25")
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("index: 100%")
    assert "3/3" in line
    assert "loss=0.25" in line
    assert captured.err.endswith("\n")


def test_a_file_gets_few_lines(capsys, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock) / 100)
    with Runtime(sink=TerminalSink()).progress("train", 5000) as task:
        for _ in range(5000):
            task.advance()
    assert capsys.readouterr().err.count("train:") == 4  # in 50 seconds


def test_a_terminal_gets_a_bar_whose_line_ends(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    runtime = Runtime(sink=TerminalSink())
    with runtime.progress("trace", 2) as outer, runtime.progress("curvature", 1) as inner:
        outer.advance()
        inner.advance()
    output = capsys.readouterr().err
    assert "trace:  50%" in output
    assert "curvature: 100%" in output
    assert output.endswith("\n")


def test_interrupted_work_ends_its_line(capsys):
    with pytest.raises(KeyboardInterrupt), Runtime(sink=TerminalSink()).progress("index", 3):
        raise KeyboardInterrupt
    assert capsys.readouterr().err.endswith("\n")


def test_a_callback_gets_every_event():
    events = []
    with Runtime(sink=CallbackSink(events.append)).progress("index", 3, "image", 1) as task:
        task.advance(loss=2)
        task.advance()
    assert [event.done for event in events] == [1, 2, 3, 3]
    assert [event.is_closed for event in events] == [False, False, False, True]
    assert (events[0].label, events[0].total, events[0].unit) == ("index", 3, "image")
    assert events[-1].notes == {"loss": "2"}


def test_a_silent_sink_shows_nothing(capsys):
    with Runtime(sink=SilentSink()).progress("index", 3) as task:
        task.advance(3)
    assert capsys.readouterr().err == ""


def test_the_environment_can_silence_it(monkeypatch):
    monkeypatch.setenv("CREDITLINE_PROGRESS", "0")
    assert isinstance(Runtime().sink, SilentSink)
    monkeypatch.delenv("CREDITLINE_PROGRESS")
    assert isinstance(Runtime().sink, TerminalSink)
