"""Sana: a linear-attention transformer on deep-compression latents and a rectified flow."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from creditline import fingerprint
from creditline.diffusion.codec import DeterministicCodec
from creditline.diffusion.euler import EulerSampler
from creditline.diffusion.families.latent import drop_variance
from creditline.diffusion.families.network import ConditionSpec
from creditline.diffusion.families.text import TextDenoiser
from creditline.diffusion.flow import FlowProcess
from creditline.errors import ModelError

TOKENS = 300


class DeepCompressionCodec(DeterministicCodec):
    """`AutoencoderDC` (Chen et al., ICLR 2025)."""

    @classmethod
    def downsampling(cls, config: Mapping[str, Any]) -> int:
        return 2 ** (len(config["encoder_block_out_channels"]) - 1)

    def _encode(self, vae: Any, pixels: Tensor, key: str) -> Tensor:
        return vae.encode(pixels).latent[0].cpu()


class SanaFlow(FlowProcess):
    """A rectified flow whose pipeline may have a DPM solver for its scheduler."""

    @classmethod
    def from_scheduler(cls, scheduler: Any) -> FlowProcess:
        config = scheduler if isinstance(scheduler, Mapping) else scheduler.config
        if config.get("use_flow_sigmas"):
            scheduler = {
                "num_train_timesteps": config["num_train_timesteps"],
                "shift": config["flow_shift"],
            }
        return super().from_scheduler(scheduler)


class Sana(TextDenoiser):
    """Xie et al., ICLR 2025.

    As in the pipeline and in diffusers' training scripts, an instruction precedes every prompt that
    Gemma encodes, except for negative prompts.

    Raises:
        ModelError: if the network has a guidance embedding, as Sana-Sprint does.
    """

    pipelines = ("SanaPipeline",)
    networks = ("SanaTransformer2DModel",)
    component = "transformer"
    process_class = SanaFlow
    codec_class = DeepCompressionCodec
    sampler = EulerSampler()
    default_guidance = 4.5

    def __init__(self, module: Any, *args: Any) -> None:
        if module.config.get("guidance_embeds"):
            raise ModelError(
                "This SanaTransformer2DModel has a guidance embedding, as Sana-Sprint has; it is "
                "not supported. Use a Sana model without one."
            )
        self.patch_size = module.config.patch_size
        super().__init__(module, *args)

    @classmethod
    def condition_specs(
        cls, config: Any, prompt_tokens: int | None = None
    ) -> Mapping[str, ConditionSpec]:
        tokens = prompt_tokens or TOKENS
        return {
            "encoder_hidden_states": ConditionSpec((tokens, config.caption_channels)),
            "encoder_attention_mask": ConditionSpec((tokens,), torch.int64),
        }

    def encode_unconditional(
        self, n: int, negative_prompt: str | None = None
    ) -> dict[str, Tensor] | None:
        return self.encode_conditions([("negative", negative_prompt or "")] * n)

    def encoders(self) -> dict[str, str]:
        return {**super().encoders(), "instruction": fingerprint.of_json(self._instruction)}

    @property
    def _instruction(self) -> list[str]:
        """The default instruction of the pipeline."""
        parameters = signature(type(self.pipeline).__call__).parameters
        return list(parameters["complex_human_instruction"].default)

    def _max_tokens(self, suffix: str) -> int:
        return self.encoding.prompt_tokens or TOKENS

    def _encode_prompt(self, prompt: Any) -> dict[str, Tensor]:
        negative = isinstance(prompt, tuple)
        hidden, mask, _, _ = self.pipeline.encode_prompt(
            prompt[1] if negative else prompt,
            do_classifier_free_guidance=False,
            device=self.device,
            max_sequence_length=self._max_tokens(""),
            complex_human_instruction=None if negative else self._instruction,
        )
        return {"encoder_hidden_states": hidden, "encoder_attention_mask": mask}

    def _forward(self, x_t: Tensor, time: Tensor, condition: dict[str, Tensor]) -> Tensor:
        scaled = time.to(x_t.dtype) * self.module.config.get("timestep_scale", 1.0)
        output = self.module(x_t, timestep=scaled, **condition).sample
        return drop_variance(output, x_t.shape[1])
