"""Captions in turn: the evaluations of an image that has several captions share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser
from creditline.gradients.noise_plan import NoisePlan, Role, take_turns
from creditline.gradients.noised_batch import NoisedBatch, Trajectory, expand
from creditline.settings import require


def expand_images(
    denoiser: Denoiser,
    images: ImageSet,
    indices: Sequence[int],
    plan: NoisePlan,
    role: Role,
    trajectories: Sequence[Trajectory | None] | None = None,
) -> list[NoisedBatch]:
    """Expand some images of a set, with their masks and captions, over a noise plan.

    Args:
        denoiser: encodes the images and gives the process.
        images: the set.
        indices: positions of the images.
        plan, role, trajectories: as for `expand`.

    Raises:
        DataError: if a trajectory plan meets an image without a trajectory.
        SettingsError: if an image has more captions than evaluations.
    """
    batch = denoiser.encode(images, indices)
    masks = None if images.masks is None else [images.masks[i] for i in indices]
    noised = expand(denoiser, batch, plan, role, trajectories, masks)
    return [with_captions(one, denoiser, images, i) for one, i in zip(noised, indices, strict=True)]


def with_captions(
    noised: NoisedBatch, denoiser: Denoiser, images: ImageSet, i: int, first: int | None = None
) -> NoisedBatch:
    """Give the evaluations of an image its captions in turn; images of one caption stay as is.

    Args:
        noised: evaluations of the image.
        denoiser: encodes captions.
        images: the set of the image.
        i: its position.
        first: number of the caption that begins, for an estimate that needs no complete turn.
            None: the first, and every caption is needed.

    Raises:
        SettingsError: if `first` is None and the image has more captions than evaluations.
    """
    inputs = denoiser.condition_inputs(images, i)
    if len(inputs) == 1:
        return noised
    u = len(noised.t)
    if first is None:
        _require_complete_turn(len(inputs), u, images.names[i])
    turns = torch.from_numpy(take_turns(u, noised.draws, len(inputs), first or 0))
    encoded = denoiser.encode_conditions(inputs)
    return replace(noised, condition={name: value[turns] for name, value in encoded.items()})


def require_complete_turns(denoiser: Denoiser, images: ImageSet, plan: NoisePlan) -> None:
    """Refuse a noise plan with fewer evaluations than an image has captions.

    Raises:
        SettingsError: naming the image.
    """
    if images.captions is None:
        return
    for i, name in enumerate(images.names):
        _require_complete_turn(len(denoiser.condition_inputs(images, i)), plan.evaluations, name)


def _require_complete_turn(captions: int, evaluations: int, name: str) -> None:
    require(
        captions <= evaluations,
        f"{name} has {captions} captions, which need as many evaluations (timesteps x draws)",
        evaluations,
        "Ask for more timesteps or draws, or load one caption of each image "
        "(captions='first' or 'random', --captions).",
    )
