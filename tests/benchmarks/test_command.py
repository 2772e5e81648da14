"""`creditline benchmark`: refusals before any work."""

from __future__ import annotations

from click.testing import CliRunner

from creditline.cli.benchmark import command
from creditline.errors import CreditlineError


def test_options_of_the_command_that_do_nothing_are_refused(tmp_path):
    def refused(*words):
        result = CliRunner().invoke(command, ["icons", *words])
        assert isinstance(result.exception, CreditlineError)
        return str(result.exception)

    build = ("--build", str(tmp_path / "built"))
    assert "--out and --timesteps with --build" in refused(*build, "--out", "a", "--timesteps", "3")
    assert "--markdown with --build" in refused(*build, "--markdown", "a")
    assert "--resamples with --build" in refused(*build, "--resamples", "9")
    assert "holds no benchmark" in refused(*build, "--from", str(tmp_path / "mistyped"))
    assert not (tmp_path / "built").exists()
    assert "--method with --build" in refused(*build, "--method", "trak")


def test_an_unknown_method_suggests_the_nearest(tmp_path):
    result = CliRunner().invoke(command, ["icons", "--method", "d-trakk", "--out", str(tmp_path)])
    assert "Did you mean 'd-trak'" in str(result.exception)
