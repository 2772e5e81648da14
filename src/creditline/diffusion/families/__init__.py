"""Families of networks on latents, by the classes of diffusers that they come as."""

from __future__ import annotations

from creditline.diffusion.families.dit import DiT
from creditline.diffusion.families.flux import Flux
from creditline.diffusion.families.latent import LatentDenoiser
from creditline.diffusion.families.ldm import LatentDiffusion
from creditline.diffusion.families.pixart import PixArt
from creditline.diffusion.families.sd3 import StableDiffusion3
from creditline.diffusion.families.sdxl import StableDiffusionXL
from creditline.diffusion.families.stable_diffusion import StableDiffusion

__all__ = [
    "FAMILIES",
    "PIPELINES",
    "DiT",
    "Flux",
    "LatentDenoiser",
    "LatentDiffusion",
    "PixArt",
    "StableDiffusion",
    "StableDiffusion3",
    "StableDiffusionXL",
    "family_of_network",
    "family_of_pipeline",
]

FAMILIES: tuple[type[LatentDenoiser], ...] = (
    StableDiffusion,
    StableDiffusionXL,
    DiT,
    PixArt,
    StableDiffusion3,
    Flux,
    LatentDiffusion,
)

PIPELINES = tuple(name for family in FAMILIES for name in family.pipelines)


def family_of_pipeline(name: str) -> type[LatentDenoiser] | None:
    """The family of a pipeline class; None: not one on latents."""
    return next((family for family in FAMILIES if name in family.pipelines), None)


def family_of_network(name: str) -> type[LatentDenoiser] | None:
    """The family of a network class that is known without its pipeline; None: not known."""
    found = [family for family in FAMILIES if name in family.networks]
    return found[0] if found else None
