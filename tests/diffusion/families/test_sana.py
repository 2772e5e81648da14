"""Sana: its noise levels, its instruction, and the networks that it refuses."""

from __future__ import annotations

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from tests.tiny_pipelines import make

from creditline.diffusion.families.sana import SanaFlow
from creditline.diffusion.load import load_model
from creditline.errors import ModelError


def test_noise_levels_of_a_dpm_solver_are_those_of_the_shifted_flow():
    solver = DPMSolverMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0
    )
    flow = SanaFlow.from_scheduler(FlowMatchEulerDiscreteScheduler(shift=3.0))
    assert SanaFlow.from_scheduler(solver).to_dict() == flow.to_dict()
    assert SanaFlow.from_scheduler(dict(solver.config)).to_dict() == flow.to_dict()


@torch.no_grad()
def test_an_instruction_precedes_prompts_but_not_negative_ones(load):
    model = load("sana")
    plain = model.pipeline.encode_prompt("a cat", False, max_sequence_length=12)[0]
    prompt = model.encode_conditions(["a cat"])["encoder_hidden_states"]
    negative = model.encode_unconditional(1, "a cat")
    torch.testing.assert_close(negative["encoder_hidden_states"], plain)
    assert not torch.allclose(prompt, plain)


def test_sprint_is_refused():
    pipeline = make("sana")
    pipeline.transformer.register_to_config(guidance_embeds=True)
    with pytest.raises(ModelError, match="Sana-Sprint"):
        load_model(pipeline)
