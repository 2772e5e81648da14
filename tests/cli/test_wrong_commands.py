"""Wrong command lines: exit code 2, one message that says what, no traceback, no file."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import SMALL, invoke

INDEX = ("index", "MODEL", "DATA", *SMALL, "--out", "OUT")
TRACE = ("trace", "INDEX", "IMAGE")
TRAIN = ("train", "DATA", "--preset", "icons-16", "--steps", "1", "--out", "OUT")
GENERATE = ("generate", "MODEL", "-n", "1", "--steps", "1", "--out", "OUT")
RETRAIN = ("evaluate", "retrain", "DATA", "--queries", "IMAGES", "--out", "OUT")

NUMBERS = {
    INDEX: [
        *("--timesteps 0", "--timesteps -1", "--dim 0", "--dim -4", "--workers 0", "--workers -2"),
        *("--shard-rows 0", "--draws 0", "--draws 1000000000", "--query-draws 0", "--rank 0"),
        *("--query-draws 1000000000", "--learn-from 1", "--batch-size 0", "--noise-seed -1"),
        *("--projection-seed -1", f"--noise-seed {10**30}", "--damping -1", "--damping nan"),
        *("--damping inf", "--objective interpolation --eta 2", "--eta nan", "--eta -0.1"),
        *("--objective p-norm --p 0", "--p nan", "--size 0", "--size -3", "--size 1000000"),
        *("--center-crop 0", "--limit 0", "--sample 0", "--sample 3 --sample-seed -1"),
        *("--side 0", "--vae-seed -1", "--exponent 0", "--exponent inf", "--threshold -1"),
        *("--threshold nan", "--preconditioner-damping 0", "--preconditioner-draws 0"),
        *("--embedded-guidance -1", "--embedded-guidance inf", "--prompt-tokens 0"),
    ],
    TRACE: [
        *("--top 0", "--top -1", "--memory 0", "--memory -1", "--damping -1", "--damping nan"),
        *("--query-draws -1", "--query-draws 1000000000", "--threshold -1", "--exponent nan"),
    ],
    TRAIN: [
        *("--batch-size 0", "--learning-rate 0", "--learning-rate nan", "--learning-rate inf"),
        *("--clip 0", "--clip nan", "--beta1 1", "--beta2 -0.1", "--weight-decay -1"),
        *("--weight-decay inf", "--ema 1", "--ema nan", "--warmup 2", "--dropout 1", "--layers 0"),
        *("--channels -8,16", "--attention -1", "--groups 0", "--head-dim 0", "--classes -1"),
        *("--resolution 0", "--threads 0", "--seed -1", "--checkpoint-every -1"),
    ],
    GENERATE: [
        *("-n 0", "-n -3", "--batch-size 0", "--eta -1", "--eta 2", "--eta nan", "--seed -5"),
        *("--guidance nan", "--guidance -1", "--guidance inf", "--label -1"),
    ],
    RETRAIN: [
        *("--subsets 7", "--alpha 0", "--alpha 1", "--alpha nan", "--seeds 0", "--subset-seed -1"),
        *("--loss-timesteps 0", "--loss-draws 0", "--loss-seed -1", "--limit-tasks 0"),
    ],
    ("evaluate", "lds", "INDEX", "--queries", "IMAGES", "--ground-truth", "NOWHERE"): [
        *("--resamples 1", "--bootstrap-seed -1", "--splits 0", "--dampings 0.1,-1"),
    ],
    ("doctor", "MODEL", "DATA"): ["--samples 0", "--images 0", "--flops-per-second nan"],
    ("benchmark", "icons"): ["--ensemble 0", "--limit-tasks 0"],
}
OTHERS = [
    (INDEX, "--parameters ,", "parameters"),
    (INDEX, "--projection none --dim 10", "dim"),
    (INDEX, "--halves --timesteps 1 --draws 1", "halves"),
    (INDEX, "--projection none --dim 4096", "dim"),
    (INDEX, "--encoded FILE", "--encoded"),
    (INDEX, "--encoded NEW", "nothing to keep"),
    (TRAIN, "--encoded NEW", "nothing to keep"),
    (("index", "MODEL", "BROKEN", *SMALL, "--out", "OUT"), "--size 32", "the model takes"),
    (("train", "BROKEN", "--preset", "icons-16", "--out", "OUT"), "--size 32", "16x16 pixels"),
    (INDEX, "--device meta", "meta"),
    (INDEX, "--device potato", "potato"),
    (TRACE, "--prompt x", "--prompt"),
    (TRACE, "--device meta", "meta"),
    (TRACE, "--html BUSY", "folder"),
    (TRACE, "--html NEW --csv NEW", "both name"),
    (TRAIN, "--encoded FILE", "--encoded"),
    (GENERATE, "--prompt x", "no prompts"),
    (("demo", "--out", "BUSY"), "", "not of a demo"),
    (("demo", "--out", "FILE"), "", "is a file"),
    (("trace", "NOWHERE", "IMAGE"), "", "does not exist"),
    (("info", "FILE"), "", "creditline index"),
    (("search", "INDEX", "NOWHERE"), "", "NOWHERE"),
    (("remove", "INDEX", ""), "", "no image"),
]


@pytest.fixture
def places(model, data, index, generated, tmp_path) -> dict[str, str]:
    """What the words in capitals stand for."""
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy/mine").write_text("mine")
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/a.png").write_text("no image: it is not looked at")
    names = {"MODEL": model, "DATA": data, "INDEX": index, "IMAGES": generated}
    names |= {"OUT": str(tmp_path / "out"), "NEW": str(tmp_path / "new.html")}
    names |= {"FILE": str(tmp_path / "file.txt"), "BUSY": str(tmp_path / "busy")}
    names |= {"BROKEN": str(tmp_path / "broken")}
    return names | {"NOWHERE": str(tmp_path / "NOWHERE"), "IMAGE": f"{generated}/00000.png"}


def check(arguments: list[str], places: dict[str, str], part: str) -> None:
    """Run a command; check its end, its message and that nothing was written."""
    folder = Path(places["FILE"]).parent
    before = sorted(folder.rglob("*"))
    result = invoke(*(places.get(word, word) for word in arguments))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert part.lower() in result.stderr.lower()
    assert "Traceback" not in result.stderr
    assert len(result.stderr) < 2500
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("command", NUMBERS, ids=" ".join)
def test_a_number_outside_its_range_is_refused_at_once(command, places):
    for options in NUMBERS[command]:
        option = options.split()[-2]
        check([*command, *options.split()], places, f"{option} must")


@pytest.mark.parametrize(("command", "options", "part"), OTHERS)
def test_a_command_that_cannot_be_done_writes_nothing(command, options, part, places):
    check([*command, *options.split()], places, part)


def test_an_empty_pattern_of_parameters_is_refused(places):
    check([*INDEX, "--parameters", ""], places, "parameters")


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("index", ["at least 1", "in [1, 100,000]", "in [0, 1]", "0 or more"]),
        ("train", ["positive", "in [0, 1)"]),
        ("generate", ["in [0, 1]"]),
    ],
)
def test_help_states_the_ranges(command, lines):
    text = " ".join(invoke(command, "--help").stdout.split())
    for line in lines:
        assert line in text
