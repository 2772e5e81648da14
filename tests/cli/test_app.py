"""The command as a process: speed, exit codes, interruption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

import creditline as cl
from creditline.cli import main
from creditline.cli.app import COMMANDS

CREDITLINE = [sys.executable, "-c", "from creditline.cli import main; main()"]


HEAVY = "print(*sorted({'torch', 'diffusers', 'pandas', 'lance', 'scipy'} & set(sys.modules)))"


def test_help_lists_every_command_and_imports_nothing_heavy():
    script = f"""
import atexit, sys
from creditline.cli import main
atexit.register(lambda: {HEAVY})
main(["--help"])
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0
    assert all(f"  {name} " in result.stdout for name in COMMANDS)
    assert result.stdout.splitlines()[-1] == ""


@pytest.mark.slow
def test_help_of_a_command_imports_nothing_heavy():
    script = f"""
import sys
from click.testing import CliRunner
from creditline.cli import main
for name in {list(COMMANDS)}:
    assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0
{HEAVY}
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "\n"), result.stderr


@pytest.mark.slow
def test_an_error_is_one_message_and_no_traceback(tmp_path):
    command = [*CREDITLINE, "info", str(tmp_path / "nothing")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("creditline: ")
    assert "Traceback" not in result.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_leaves_something_to_continue(model, data, tmp_path):
    out = tmp_path / "i"
    options = ["--timesteps", "200", "--dim", "64", "--shard-rows", "1", "--workers", "1"]
    arguments = ["index", model, data, "--out", str(out), "--method", "trak", *options]
    # Under nohup a test run inherits that Ctrl-C is ignored; a terminal's command does not.
    process = subprocess.Popen(
        [*CREDITLINE, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not list(out.glob("shards/*.json")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted. The same command continues where it stopped." in stderr
    assert "Traceback" not in stderr
    assert 1 <= len(list(out.glob("shards/*.json"))) < 10
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert cl.open_index(out).n == 10


def test_an_unknown_command_suggests_the_nearest():
    result = CliRunner().invoke(main, ["trce"])
    assert result.exit_code == 2
    assert "Did you mean 'trace'?" in result.stderr


def test_an_unknown_option_suggests_the_nearest():
    result = CliRunner().invoke(main, ["index", "a", "b", "--out", "c", "--timestep", "3"])
    assert result.exit_code == 2
    assert "--timesteps" in result.stderr


def test_a_file_that_the_system_refuses_is_no_traceback(monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", "secret.png")

    monkeypatch.setattr("creditline.api.open_index", refuse)
    result = CliRunner().invoke(main, ["info", "somewhere"])
    assert result.exit_code == 2
    assert result.stderr == "creditline: Permission denied: secret.png\n"


def test_a_defect_is_a_short_report_with_versions_and_its_own_exit_code(monkeypatch):
    def fail(*args, **kwargs):
        raise ZeroDivisionError("of \x1b[2J nothing")

    monkeypatch.setattr("creditline.api.open_index", fail)
    monkeypatch.setattr("sys.argv", ["creditline", "info", "some where"])
    result = CliRunner().invoke(main, ["info", "somewhere"])
    assert result.exit_code == 3
    assert result.stdout == ""
    first, *_, last = result.stderr.splitlines()
    assert first == (
        r"creditline: unexpected error in `creditline info`: ZeroDivisionError: of \x1b[2J nothing"
    )
    assert f"creditline {cl.__version__}, Python 3." in result.stderr
    assert last == "  For the traceback: creditline --debug info 'some where'"
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback_of_any_error_with_its_cause(monkeypatch):
    def fail(*args, **kwargs):
        raise MemoryError("11 TiB")

    monkeypatch.setattr("creditline.api.open_index", fail)
    plain = CliRunner().invoke(main, ["info", "somewhere"])
    assert plain.exit_code == 2
    assert "not enough memory" in plain.stderr
    debug = CliRunner().invoke(main, ["--debug", "info", "somewhere"])
    assert debug.exit_code == 2
    assert "Traceback" in debug.stderr
    assert "MemoryError: 11 TiB" in debug.stderr
    assert debug.stderr.endswith(plain.stderr)


def test_an_error_of_the_system_without_a_file_is_a_message(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("cannot reach the hub")

    monkeypatch.setattr("creditline.api.open_index", fail)
    result = CliRunner().invoke(main, ["info", "somewhere"])
    assert (result.exit_code, result.stderr) == (2, "creditline: cannot reach the hub\n")


def test_version():
    assert cl.__version__ in CliRunner().invoke(main, ["--version"]).stdout
