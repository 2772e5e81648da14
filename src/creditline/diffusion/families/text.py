"""What all families have in common that read a prompt."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from creditline import fingerprint
from creditline.data.image_set import ImageSet
from creditline.diffusion.families.latent import LatentDenoiser
from creditline.diffusion.weights import fingerprint_of
from creditline.errors import DataError, ModelError


class TextDenoiser(LatentDenoiser):
    """A network conditioned on the embeddings of a prompt, made by the pipeline's own encoders.

    Raises:
        ModelError: if a tokenizer or text encoder is missing, or they do not fit each other.
    """

    takes_prompts = True
    readers: ClassVar[tuple[str, ...]] = ("",)
    """Suffixes of the pipeline's tokenizers and text encoders."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Those of them that a pipeline may do without."""

    def __init__(self, module: Any, process: Any, pipeline: Any = None, *rest: Any) -> None:
        self.require_pipeline(type(module).__name__, pipeline)
        for suffix in self.readers:
            for part in (f"tokenizer{suffix}", f"text_encoder{suffix}"):
                if getattr(pipeline, part, None) is None and suffix not in self.optional:
                    raise ModelError(
                        f"This {type(pipeline).__name__} has no {part}, so it cannot read prompts. "
                        "Use the whole pipeline."
                    )
        super().__init__(module, process, pipeline, *rest)
        for suffix in self._present():
            encoder = getattr(pipeline, f"text_encoder{suffix}").eval().requires_grad_(False)
            known = len(getattr(pipeline, f"tokenizer{suffix}").get_vocab())
            size = encoder.get_input_embeddings().num_embeddings
            # Without its vocabulary's file a tokenizer loads all the same, and knows no word.
            if not size // 2 <= known <= size:
                raise ModelError(
                    f"tokenizer{suffix} knows {known:,} tokens and text_encoder{suffix} {size:,}, "
                    "so prompts would be misread. Use the pipeline's own tokenizer, with the "
                    "files of its vocabulary."
                )

    @classmethod
    def require_pipeline(cls, name: str, pipeline: Any) -> None:
        if pipeline is None:
            raise ModelError(
                f"A {name} reads prompts and comes without text encoders. Give the pipeline that "
                "it belongs to (pipeline=, --pipeline), or its folder."
            )

    def check(self, images: ImageSet) -> None:
        super().check(images)
        missing = [n for i, n in enumerate(images.names) if self._wanted(images, i) is None]
        if missing:
            raise DataError(
                f"The model reads prompts, and {len(missing)} of {len(images)} pictures have none, "
                f"such as {missing[0]}. Give them in the column 'text' of metadata.csv, or one for "
                "all that have none (caption=, --caption)."
            )
        self.check_prompts([str(self._wanted(images, i)) for i in range(len(images))])

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Refuse prompts that are longer than the text encoders take, unless they may be cut.

        Raises:
            DataError: naming the longest.
        """
        if self.encoding.long_prompts == "cut":
            return
        for suffix in self._present():
            tokenizer, room = getattr(self.pipeline, f"tokenizer{suffix}"), self._room(suffix)
            for prompt in dict.fromkeys(prompts):
                length = len(tokenizer(prompt, verbose=False).input_ids)
                if length > room:
                    raise DataError(
                        f"The prompt {prompt[:60]!r} has {length} tokens, the text encoder takes "
                        f"{room}. Shorten it, or let prompts be cut off (long_prompts='cut', "
                        "--long-prompts cut), as the pipeline does when it samples."
                    )

    def encoders(self) -> dict[str, str]:
        return {**super().encoders(), "text encoders": self._text_fingerprint}

    @cached_property
    def _text_fingerprint(self) -> str:
        """Hash of encoders, vocabularies and lengths. Computed once: they are frozen."""
        parts: list[Any] = [type(self.pipeline).__name__, self.encoding.long_prompts]
        for suffix in self._present():
            encoder = getattr(self.pipeline, f"text_encoder{suffix}")
            vocabulary = getattr(self.pipeline, f"tokenizer{suffix}").get_vocab()
            parts += [fingerprint_of(encoder), fingerprint.of_json(vocabulary), self._room(suffix)]
        return fingerprint.of_json(parts)

    @abstractmethod
    def _prompt(self, prompt: str) -> dict[str, Tensor]:
        """What the pipeline's encoders make of a prompt, each with a batch dimension of 1."""

    def _wanted(self, images: ImageSet, i: int) -> str | None:
        text = images.texts[i]
        return self.encoding.caption if text is None else text

    @torch.no_grad()
    def _embed(self, wanted: Any) -> dict[str, Tensor]:
        for suffix in self._present():
            getattr(self.pipeline, f"text_encoder{suffix}").to(self.device)
        return {name: value[0].cpu() for name, value in self._prompt(str(wanted)).items()}

    def _embedded(self, wanted: Any) -> dict[str, Tensor]:
        if self.encoded is None:
            return self._embed(wanted)
        key = fingerprint.of_json(wanted)
        return self.encoded.tensors("prompts", key, lambda: self._embed(wanted))

    def unconditional(self, n: int, negative: str | None = None) -> dict[str, Tensor] | None:
        return self.conditions([negative or ""] * n)

    def _present(self) -> list[str]:
        return [s for s in self.readers if getattr(self.pipeline, f"text_encoder{s}", None)]

    def _room(self, suffix: str) -> int:
        """Tokens that an encoder takes."""
        return int(getattr(self.pipeline, f"tokenizer{suffix}").model_max_length)
