"""The experiments of the D-TRAK paper (Zheng et al., ICLR 2024, arXiv 2311.00500).

Every number is that of the authors' scripts. ArtBench differs from them in three ways. Generated
queries take the prompts in turn, image i with seed i. Latents are the mean of the VAE's posterior
in training too, unless the base is loaded with `--vae sample`, one draw for each image. Computation
is in float32 unless `precision` says otherwise.
"""

from __future__ import annotations

from dataclasses import replace

from creditline.errors import unknown
from creditline_research.paper.recipe import Recipe

_ARTBENCH = Recipe(
    name="artbench",
    title="ArtBench",
    data="ArtBench-10 of 256 pixels with folders train/CLASS and test/CLASS, or a zip file of them",
    classes=(),
    pool=0,
    test_pool=0,
    train_images=0,
    resolution=256,
    network="artbench",
    epochs=100,
    batch_size=64,
    guidance=7.5,
    prompt="a {label} painting",
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="cifar2",
            title="CIFAR-2",
            data="CIFAR-10 with folders train/CLASS and test/CLASS, or a zip file of them",
            classes=("automobile", "horse"),
            pool=10_000,
            test_pool=2000,
            train_images=5000,
            resolution=32,
            network="cifar",
            datamodel_subsets=512,
            ensemble=8,
            removals=(500, 1000, 2500),
            removals_trained=(1000,),
            targets=60,
            targets_state=42,
        ),
        Recipe(
            name="cifar10",
            title="CIFAR-10",
            data="CIFAR-10 with folders train/CLASS and test/CLASS, or a zip file of them",
            classes=(
                *("airplane", "automobile", "bird", "cat", "deer"),
                *("dog", "frog", "horse", "ship", "truck"),
            ),
            pool=50_000,
            test_pool=10_000,
            train_images=50_000,
            resolution=32,
            network="cifar",
        ),
        Recipe(
            name="celeba",
            title="CelebA",
            data="the folder img_align_celeba with all 202,599 files",
            classes=(),
            pool=162_770,
            test_pool=19_867,
            train_images=5000,
            resolution=64,
            network="celeba",
            center_crop=140,
            datamodel_subsets=512,
            ensemble=8,
            removals=(500, 1000, 2500),
            removals_trained=(1000,),
            targets=60,
            targets_state=0,
        ),
        replace(
            _ARTBENCH,
            name="artbench2",
            title="ArtBench-2",
            classes=("post_impressionism", "ukiyo_e"),
            pool=10_000,
            test_pool=2000,
            train_images=5000,
            datamodel_subsets=512,
            ensemble=8,
            removals=(500, 1000, 2500),
            removals_trained=(1000,),
            targets=60,
            targets_state=0,
        ),
        replace(
            _ARTBENCH,
            name="artbench5",
            title="ArtBench-5",
            classes=("baroque", "post_impressionism", "renaissance", "romanticism", "ukiyo_e"),
            pool=25_000,
            test_pool=5000,
            train_images=12_500,
        ),
    )
}


def recipe(name: str) -> Recipe:
    """Look up a recipe by name.

    Raises:
        SettingsError: if there is none; the message suggests the nearest.
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]
