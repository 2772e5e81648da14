"""Families of diffusion models: one file per family, and the registry that finds them."""

from __future__ import annotations

from creditline.diffusion.families.dit import DiT
from creditline.diffusion.families.flux import Flux
from creditline.diffusion.families.ldm import LatentDiffusion
from creditline.diffusion.families.network import NetworkDenoiser
from creditline.diffusion.families.pixart import PixArt
from creditline.diffusion.families.pixel import UNetDenoiser
from creditline.diffusion.families.registry import FamilyRegistry
from creditline.diffusion.families.sana import Sana
from creditline.diffusion.families.sd3 import StableDiffusion3
from creditline.diffusion.families.sdxl import StableDiffusionXL
from creditline.diffusion.families.stable_diffusion import StableDiffusion

__all__ = ["FAMILIES", "FamilyRegistry", "NetworkDenoiser"]

FAMILIES = FamilyRegistry(
    UNetDenoiser,
    StableDiffusion,
    StableDiffusionXL,
    DiT,
    PixArt,
    StableDiffusion3,
    Flux,
    Sana,
    LatentDiffusion,
)
