"""The base of families that are conditional on prompts."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from creditline import fingerprint
from creditline.data.image_set import ImageSet
from creditline.diffusion.families.latent import LatentDenoiser
from creditline.diffusion.weights import fingerprint_weights
from creditline.errors import DataError, ModelError

CLIP_TOKENS = 77


class TextDenoiser(LatentDenoiser):
    """A network conditional on the embeddings of a prompt, from the pipeline's text encoders.

    A family implements `_encode_prompt` with the pipeline's own `encode_prompt`.

    Attributes:
        encoder_suffixes: suffixes of the pipeline's tokenizers and text encoders.
        optional_suffixes: those of them that a pipeline may lack.

    Raises:
        ModelError: if a tokenizer or text encoder is missing, or they do not match.
    """

    takes_prompts = True
    encoder_suffixes: ClassVar[tuple[str, ...]] = ("",)
    optional_suffixes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, module: Any, process: Any, pipeline: Any = None, *args: Any) -> None:
        self.require_pipeline(type(module).__name__, pipeline)
        for suffix in self.encoder_suffixes:
            for component in (f"tokenizer{suffix}", f"text_encoder{suffix}"):
                missing = getattr(pipeline, component, None) is None
                if missing and suffix not in self.optional_suffixes:
                    raise ModelError(
                        f"This {type(pipeline).__name__} has no {component}, so it cannot read "
                        "prompts. Use the complete pipeline."
                    )
        super().__init__(module, process, pipeline, *args)
        for suffix in self._present_suffixes():
            encoder = getattr(pipeline, f"text_encoder{suffix}").eval().requires_grad_(False)
            vocabulary = len(getattr(pipeline, f"tokenizer{suffix}").get_vocab())
            size = encoder.get_input_embeddings().num_embeddings
            # A tokenizer without its vocabulary's file loads without an error.
            if not size // 2 <= vocabulary <= size:
                raise ModelError(
                    f"tokenizer{suffix} knows {vocabulary:,} tokens and text_encoder{suffix} "
                    f"{size:,}, so prompts would be misread. Use the pipeline's own tokenizer, "
                    "with the files of its vocabulary."
                )

    @classmethod
    def require_pipeline(cls, network: str, pipeline: Any) -> None:
        if pipeline is None:
            raise ModelError(
                f"A {network} reads prompts and comes without text encoders. Give the pipeline "
                "that it belongs to (pipeline=, --pipeline), or its folder."
            )

    def check(self, images: ImageSet) -> None:
        super().check(images)
        prompts = [self.condition_inputs(images, i) for i in range(len(images))]
        names = [name for name, texts in zip(images.names, prompts, strict=True) if None in texts]
        if names:
            raise DataError(
                f"The model reads prompts, and {len(names)} of {len(images)} images have none, "
                f"such as {names[0]}. Give them in the column 'text' of metadata.csv, or one for "
                "all that have none (caption=, --caption)."
            )
        self.check_prompts([str(text) for texts in prompts for text in texts])

    def check_prompts(self, prompts: Sequence[str]) -> None:
        if self.encoding.long_prompts == "cut":
            return
        for suffix in self._present_suffixes():
            tokenizer = getattr(self.pipeline, f"tokenizer{suffix}")
            longest = self._max_tokens(suffix)
            for prompt in dict.fromkeys(prompts):
                length = len(tokenizer(prompt, verbose=False).input_ids)
                if length > longest:
                    raise DataError(
                        f"The prompt {prompt[:60]!r} has {length} tokens, the text encoder takes "
                        f"{longest}. Shorten it, or let prompts be cut off (long_prompts='cut', "
                        "--long-prompts cut), as the pipeline does when it samples."
                    )

    def condition_input(self, images: ImageSet, i: int) -> str | None:
        text = images.texts[i]
        return self.encoding.caption if text is None else text

    def encode_unconditional(
        self, n: int, negative_prompt: str | None = None
    ) -> dict[str, Tensor] | None:
        return self.encode_conditions([negative_prompt or ""] * n)

    def encoders(self) -> dict[str, str]:
        return {**super().encoders(), "text encoders": self._text_fingerprint}

    @cached_property
    def _text_fingerprint(self) -> str:
        """Hash of encoders, vocabularies and lengths. Computed once: they are frozen."""
        values: list[Any] = [type(self.pipeline).__name__, self.encoding.long_prompts]
        for suffix in self._present_suffixes():
            encoder = getattr(self.pipeline, f"text_encoder{suffix}")
            vocabulary = fingerprint.of_json(
                getattr(self.pipeline, f"tokenizer{suffix}").get_vocab()
            )
            values += [fingerprint_weights(encoder), vocabulary, self._max_tokens(suffix)]
        return fingerprint.of_json(values)

    @abstractmethod
    def _encode_prompt(self, prompt: Any) -> dict[str, Tensor]:
        """Return the encoders' outputs for a prompt, each with a batch dimension of 1.

        Args:
            prompt: one of the inputs of `encode_conditions`.
        """

    @torch.no_grad()
    def _encode_condition(self, value: Any) -> dict[str, Tensor]:
        for suffix in self._present_suffixes():
            getattr(self.pipeline, f"text_encoder{suffix}").to(self.device)
        return {name: row[0].cpu() for name, row in self._encode_prompt(value).items()}

    def _cached_condition(self, value: Any) -> dict[str, Tensor]:
        if self.encoding_cache is None:
            return self._encode_condition(value)
        key = fingerprint.of_json(value)
        return self.encoding_cache.tensors("prompts", key, lambda: self._encode_condition(value))

    def _present_suffixes(self) -> list[str]:
        return [
            s for s in self.encoder_suffixes if getattr(self.pipeline, f"text_encoder{s}", None)
        ]

    def _max_tokens(self, suffix: str) -> int:
        """Return the number of tokens that an encoder takes.

        Raises:
            ModelError: if the tokenizer's settings say something else.
        """
        length = getattr(self.pipeline, f"tokenizer{suffix}").model_max_length
        is_number = isinstance(length, (int, float)) and not isinstance(length, bool)
        if not is_number or not 1 <= length < math.inf:
            raise ModelError(
                f"The tokenizer{suffix} of the pipeline has the model_max_length {length!r}, which "
                "is no number of tokens. Correct its tokenizer_config.json."
            )
        return int(length)
