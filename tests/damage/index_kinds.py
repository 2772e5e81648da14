"""Indexes of every kind, and what is read from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.damage.mutation import Answer
from tests.damage.world import World, interrupt

import creditline as cl
from creditline.data.image_set import ImageSet
from creditline.diffusion.encoding_cache import EncodingCache
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.indexing import build, nearest, product_codes
from creditline.trace import Trace


def index(world: World) -> Answer:
    """A traced index: its table, curvature, factors and numbers per image."""
    world.index(world.folder).trace(world.queries, top=3)
    return world.trace


def preconditioned_index(world: World) -> Answer:
    """An index with a fitted preconditioner."""
    world.index(world.folder, preconditioner="diagonal-fisher", preconditioner_draws=4)
    return world.trace


def subset_index(world: World) -> Answer:
    """An index of a method that learns from retrained models."""
    truth = make_truth(world)
    cl.index(None, world.train, method="datamodel", ground_truth=truth, out=world.folder)
    return world.trace


def change(world: World) -> Answer:
    """An index that is added to after the damage."""
    world.index(world.folder).remove([2]).trace(world.queries, top=3)

    def read(path: Path) -> object:
        opened = cl.open_index(path, model=world.model)
        trace = opened.add(world.images.subset([10, 11])).trace(world.queries, top=3)
        # Curvature that is updated or fitted anew differs by rounding.
        return [(hit.row, hit.name, round(hit.score, 9)) for q in trace for hit in q.proponents]

    return read


def unfinished_index(world: World) -> Answer:
    """An index that is continued after the damage, with a fitted projection and shards."""
    settings = {"projection": "principal", "rank": 4, "learn_from": 8}
    interrupt(build.Store, "commit", lambda: world.index(world.folder, **settings))
    return lambda path: world.index(path, **settings).digest()


def search(world: World) -> Answer:
    """An index with an approximate search, which needs many rows."""
    world.patch.setattr(nearest, "FEWEST", 256)
    world.patch.setattr(product_codes, "PROBES", 1.0)
    pixels = np.random.default_rng(0).integers(0, 256, (600, 4, 4, 3), np.uint8)
    images = ImageSet.from_images(pixels)
    cl.index(None, images, method="pixel-dot", out=world.folder)

    def read(path: Path) -> object:
        # As many candidates as there are images: the answer is that of an exact search.
        result = cl.open_index(path).search(images.subset([3]), top=24, approximate=True)
        return result.rows.tolist(), result.scores.round(3).tolist()

    read(world.folder)
    return read


def encodings(world: World) -> Answer:
    """Latents and text embeddings."""
    import torch

    def read(path: Path) -> object:
        cache = EncodingCache(path, {"autoencoder": "0" * 32})
        return [
            cache.tensors("latents", f"{i:032x}", lambda i=i: {"x": torch.full((40,), i / 3)})[
                "x"
            ].tolist()
            for i in range(3)
        ]

    read(world.folder)
    return read


def trace(world: World) -> Answer:
    """A trace as JSON."""
    answer = world.index(world.aside / "index").trace(world.queries, top=3)
    answer.to_json(world.folder / "trace.json")
    return lambda path: Trace.from_json(path / "trace.json")


def truth(world: World) -> Answer:
    """A ground truth from arrays."""
    make_truth(world).write(world.folder)
    return lambda path: GroundTruth.read(path).digest()


def make_truth(world: World) -> GroundTruth:
    """Random losses of models that were trained on subsets."""
    rng = np.random.default_rng(0)
    masks, losses = rng.random((9, 8)) < 0.5, rng.standard_normal((9, 2, 2))
    masks[0], masks[1] = True, False
    masks[1, 0] = True
    return GroundTruth.from_arrays(masks, losses, world.train, [("q", world.queries)])
