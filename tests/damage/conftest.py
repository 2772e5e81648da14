"""Folders of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.damage import index_kinds, model_kinds
from tests.damage.mutation import Answer
from tests.damage.world import World

KINDS: dict[str, Callable[[World], Answer]] = {
    make.__name__.replace("_", " "): make
    for make in (
        index_kinds.index,
        index_kinds.preconditioned_index,
        index_kinds.subset_index,
        index_kinds.change,
        index_kinds.unfinished_index,
        index_kinds.search,
        index_kinds.encodings,
        index_kinds.trace,
        index_kinds.truth,
        model_kinds.model,
        model_kinds.run,
        model_kinds.unfinished_run,
        model_kinds.tuned_run,
        model_kinds.unfinished_tuning,
        model_kinds.state,
        model_kinds.images,
        model_kinds.unfinished_images,
        model_kinds.unfinished_truth,
        model_kinds.counterfactual,
    )
}


@pytest.fixture
def make(tiny_model, tiny_images, tmp_path, monkeypatch):
    """Makes a folder of a kind; returns it and a function that reads an answer from a copy."""
    world = World(tiny_model, tiny_images, tmp_path / "intact", tmp_path, monkeypatch)

    def make_kind(kind: str) -> tuple[Path, Answer]:
        answer = KINDS[kind](world)
        return world.folder, answer

    return make_kind
