"""Captions in turn: equal shares, also within halves, and the mean gradient over captions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.tiny_pipelines import ENCODING, make, random_images

from creditline.diffusion.load import load_model
from creditline.errors import DataError, SettingsError
from creditline.evaluation.truth.losses import LossPlan, measure_losses
from creditline.features.gradients import GradientExtractor
from creditline.gradients.caption_turns import expand_images
from creditline.gradients.noise_plan import NoisePlan, take_turns
from creditline.gradients.noised_batch import NoisedBatch
from creditline.gradients.preconditioning.draws import CurvatureDraws
from creditline.gradients.preconditioning.settings import Preconditioning
from creditline.gradients.projection import Projection
from creditline.gradients.spec import FeatureSpec
from creditline.methods.model_losses import image_losses

PLAN = NoisePlan(timesteps=4, include_zero=False)
SEVERAL = ("a red cat", "two boats", "a house")


@pytest.fixture(scope="module")
def model():
    return load_model(make("sd"))


@pytest.fixture(scope="module")
def images():
    return random_images(3)


def with_first(images, *captions):
    """The images with these captions of the first."""
    texts = [captions[0], *images.texts[1:]]
    several = [captions, *[None] * (len(images) - 1)] if len(captions) > 1 else None
    return images.captioned(texts, None).with_captions(several)


def source(model, plan=PLAN, **settings):
    spec = FeatureSpec(plan=plan, projection=Projection("none"), **settings)
    return GradientExtractor([model], spec)


@pytest.mark.parametrize("captions", [2, 3, 5])
@pytest.mark.parametrize(("timesteps", "draws"), [(10, 1), (9, 1), (10, 2), (5, 4), (10, 3)])
def test_captions_have_equal_shares_and_both_halves_see_all(timesteps, draws, captions):
    u = timesteps * draws
    turns = take_turns(u, draws, captions)
    assert np.ptp(np.bincount(turns, minlength=captions)) <= 1
    one = torch.zeros(u)
    noised = NoisedBatch("", one, one, one, {}, draws)
    steps = np.arange(u) // draws
    for half in (*noised.halves(), steps % 2 == 0, steps % 2 == 1):
        counts = np.bincount(turns[half], minlength=captions)
        assert np.ptp(counts) <= 2
        assert counts.min() >= min(1, len(turns[half]) // captions)


def test_turns_begin_with_any_caption():
    turns = take_turns(7, 1, 3)
    assert np.array_equal(take_turns(7, 1, 3, first=2**63 + 1), (turns + (2**63 + 1) % 3) % 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd", "sana"])
def test_gradients_are_the_mean_over_evaluations_with_a_caption_each(name, images):
    model = load_model(make(name), encoding=ENCODING.get(name, {}))
    extractor = source(model)
    feature = extractor.extract(with_first(images, *SEVERAL), [0])[0, 0, 0]
    (noised,) = expand_images(model, images, [0], PLAN, "train")
    turns = take_turns(4, 1, 3)
    assert sorted(turns) == [0, 0, 1, 2]
    named = dict(model.module.named_parameters())
    weights = [named[n] for layer in extractor.layers for n in layer.parameters]
    total = [torch.zeros_like(w) for w in weights]
    for u, turn in enumerate(turns):
        one, condition = noised[u : u + 1], model.encode_conditions([SEVERAL[turn]])
        x_t = model.process.add_noise(one.x0, one.noise, one.t)
        for w in weights:
            w.requires_grad_(True)
        with torch.enable_grad():
            output = model.predict(x_t, one.t, condition)
            loss = (output - model.process.target(one.x0, one.noise, one.t)).square().mean()
        grads = torch.autograd.grad(loss, weights, materialize_grads=True)
        total = [a + b / len(turns) for a, b in zip(total, grads, strict=True)]
    exact = torch.cat([x.flatten() for x in total]).numpy()
    assert np.linalg.norm(feature - exact) <= 1e-4 * np.linalg.norm(exact)
    single = extractor.extract(images, [0])[0, 0, 0]
    assert np.linalg.norm(single - exact) > 1e-3 * np.linalg.norm(exact)


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["mean", "halves", "timesteps"])
def test_images_of_one_caption_and_equal_captions_change_nothing(model, images, reduction):
    extractor = source(model)
    several, alone = with_first(images, *SEVERAL), with_first(images, SEVERAL[0])
    plain = extractor.extract(alone, range(3), reduction=reduction)
    other = extractor.extract(several, range(3), reduction=reduction)
    assert np.array_equal(plain[1:], other[1:])
    assert not np.array_equal(plain[0], other[0])
    equal = with_first(images, *[SEVERAL[0]] * 2)
    assert np.array_equal(extractor.extract(equal, [0], reduction=reduction), plain[:1])


@pytest.mark.slow
def test_losses_average_over_captions(model, images):
    """Each evaluation has one caption in one order, and the other in the other order."""
    a, b = SEVERAL[:2]
    sets = [with_first(images, *x) for x in ((a, b), (b, a), (a,), (b,))]
    plan = NoisePlan(timesteps=2, draws=2, include_zero=False)
    with torch.no_grad():
        losses = [float(image_losses(model, x, plan)[0]) for x in sets]
    assert len(set(losses)) == 4
    assert losses[0] + losses[1] == pytest.approx(losses[2] + losses[3], rel=1e-6)
    truth = [measure_losses(model, x, LossPlan(2, 2))[0] for x in sets]
    assert len(set(truth)) == 4
    assert truth[0] + truth[1] == pytest.approx(truth[2] + truth[3], rel=1e-6)


@pytest.mark.slow
def test_curvature_uses_all_captions_whatever_its_number_of_evaluations(model, images):
    several = with_first(images, *SEVERAL)
    few = CurvatureDraws(Preconditioning("ekfac", preconditioner_draws=3), 3)
    one, other = (
        few.noised_images(model, x, [0, 1], number=0)
        for x in (several, with_first(images, SEVERAL[0]))
    )
    assert torch.equal(one[0].noise, other[0].noise)
    assert torch.equal(one[0].t, other[0].t)
    key = "encoder_hidden_states"
    assert torch.equal(one[1].condition[key], other[1].condition[key])
    used = {
        text
        for number in range(20)
        for text in SEVERAL
        if torch.equal(
            few.noised_images(model, several, [0], number)[0].condition[key],
            model.encode_conditions([text])[key],
        )
    }
    assert used == set(SEVERAL)


@pytest.mark.slow
def test_more_captions_than_evaluations_are_refused_before_work(model, images):
    several = with_first(images, *SEVERAL)
    extractor = source(model, NoisePlan(timesteps=2))
    with pytest.raises(SettingsError, match=r"00000\.png has 3 captions.*got 2. Ask for more"):
        extractor.check(several)
    with pytest.raises(SettingsError, match="3 captions"):
        extractor.extract(several, [0])
    extractor.check(with_first(images, *SEVERAL[:2]))


def test_every_caption_has_to_fit_the_text_encoder(model, images):
    with pytest.raises(DataError, match="tokens, the text encoder takes"):
        model.check(with_first(images, "a cat", "cat " * 200))
