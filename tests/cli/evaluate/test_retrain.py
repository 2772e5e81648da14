"""`creditline evaluate retrain`."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.evaluation.truth.ground_truth import GroundTruth

NETWORK = (
    *("--resolution", "8", "--channels", "4", "--attention", "none", "--groups", "4"),
    *("--head-dim", "4", "--steps", "1", "--batch-size", "4", "--workers", "1"),
    *("--seeds", "1", "--loss-timesteps", "2", "--loss-draws", "1"),
)
TINY = (*NETWORK, "--subsets", "8")


@pytest.fixture
def command(data, generated, tmp_path):
    out = tmp_path / "truth"
    return ("evaluate", "retrain", data, "--queries", generated, "--out", out)


@pytest.mark.slow
def test_a_ground_truth_in_two_goes(run, command, data, generated, tmp_path):
    text = run(*command, *TINY, "--stratify", "contributor", "--limit-tasks", "3").stdout
    assert text == "3 of 8 models are trained. The same command continues.\n"
    text = run(*command, *TINY, "--stratify", "contributor").stdout
    assert "the losses of 2 queries under 8 subsets, 1 model each" in text
    assert f"evaluate lds INDEX --queries {generated} --ground-truth {tmp_path / 'truth'}" in text
    truth = GroundTruth.read(tmp_path / "truth")
    assert truth.finished.all()
    assert truth.query_folders == ("generated", "generated")
    people = np.array(truth.contributors)
    assert all((people[mask] == "artist 0").sum() in (2, 3) for mask in truth.masks)
    more = run(*command, *TINY, "--stratify", "contributor", "--subsets", "9").stdout
    assert "under 9 subsets" in more


@pytest.mark.slow
def test_subsets_of_ones_own(run, refused, command, tmp_path):
    """Two models may be trained on any two subsets, though no ranking can be judged by two."""
    masks = tmp_path / "masks.npy"
    np.save(masks, np.eye(10, dtype=np.uint8)[:2])
    message = refused(*command, *TINY, "--masks", masks)
    assert "--masks gives the subsets and --subsets says how to draw them" in message
    assert "under 2 subsets" in run(*command, *NETWORK, "--masks", masks).stdout
    np.save(masks, np.eye(9, dtype=np.uint8))
    assert "each of 10 training images" in refused(*command, "--masks", masks, *NETWORK)
    masks.write_bytes(b"1,0,1")
    assert "cannot be read as an array" in refused(*command, "--masks", masks, *NETWORK)


def test_what_cannot_be_done_is_refused(refused, command, data, model, tmp_path):
    assert "Did you mean 'icons-16'" in refused(*command, "--preset", "icon-16")
    assert "subsets must be at least 8; got 7" in refused(*command, *TINY, "--subsets", "7")
    assert "Unknown stratify" in refused(*command, *TINY, "--stratify", "artist")
    assert "no label to draw by" in refused(*command, *TINY, "--stratify", "label")
    assert "in the base" in refused(*command, *TINY, "--base", model)
    assert "16x16" in refused(*command, *NETWORK, "--resolution", "16")
    nowhere = [*command[:4], tmp_path / "nowhere", *command[5:]]
    assert "nowhere" in refused(*nowhere, *TINY)
    assert not (tmp_path / "truth").exists()
