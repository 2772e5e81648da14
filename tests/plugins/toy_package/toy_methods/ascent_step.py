"""A model method: it changes a copy of the model when a query comes."""

import copy
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from creditline.gradients.noise_plan import NoisePlan
from creditline.methods import ModelAttributor, Scores, image_losses
from creditline.settings import setting


@dataclass
class AscentStep(ModelAttributor):
    """Loss change of every training image after one gradient-ascent step on the query."""

    name: ClassVar = "ascent-step"
    title: ClassVar = "Ascent step"
    paper: ClassVar = "an example of a model method"
    formula: ClassVar = "L_i(θ + η ∇L_q) − L_i(θ)"
    needs: ClassVar = "a model and the training images"
    cost: ClassVar = "none to index; n·t forward passes per query"

    step_size: float = setting(0.01, "size of the ascent step", affects="scores")

    def learn(self, context):
        self.plan_ = NoisePlan(timesteps=2)
        with torch.no_grad():
            self.losses_ = image_losses(context.models[0], context.images, self.plan_)

    def score(self, queries):
        images, context = self.query_images(queries), self.context_
        rows = []
        for q in range(len(images)):
            model = copy.deepcopy(context.models[0])
            weights = list(model.module.parameters())
            for weight in weights:
                weight.requires_grad_(True)
            loss = image_losses(model, images.subset([q]), self.plan_, "query").sum()
            steps = torch.autograd.grad(loss, weights, materialize_grads=True)
            with torch.no_grad():
                for weight, step in zip(weights, steps, strict=True):
                    weight += self.step_size * step
                rows.append(image_losses(model, context.images, self.plan_) - self.losses_)
        return Scores(np.stack([row.double().cpu().numpy() for row in rows]))
