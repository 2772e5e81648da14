"""What was encoded once: latents and text embeddings as files, kept in an index's folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from creditline.errors import CreditlineError, IndexMismatchError, difference
from creditline.files import write_file

ABOUT = "encoder.json"


class EncodingCache:
    """A folder of encoded pictures and prompts, written as they are first asked for.

    Every file is written whole and depends on its key alone, so several processes may fill the
    folder at once, and an interrupted run continues with what it has.

    Args:
        folder: where; made if it does not exist.
        about: fingerprints of what encodes.
        memory: bytes to hold of what was encoded or read, so that it is not read again.

    Raises:
        IndexMismatchError: if what is there was encoded by something else.
        CreditlineError: if the folder is not one of these.
    """

    def __init__(self, folder: Path, about: Mapping[str, str], memory: int = 0) -> None:
        self.folder = folder
        self._held: dict[Path, dict[str, Tensor]] = {}
        self._room = memory
        path = folder / ABOUT
        if not path.is_file():
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise CreditlineError(
                    f"{folder} holds something other than encoded pictures. Name another folder."
                )
            text = json.dumps(dict(about), indent=1)
            write_file(path, lambda aside: aside.write_text(text, "utf-8"))
            return
        try:
            found = dict(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise CreditlineError(f"{path} cannot be read ({error}). Delete {folder}.") from error
        lines = difference(found, dict(about))
        if lines:
            raise IndexMismatchError(
                f"The latents and text embeddings in {folder} were encoded by another autoencoder "
                "or text encoder, or otherwise:\n"
                + "\n".join(lines)
                + "\nName another folder (encoded=, --encoded), or use the model they are of."
            )

    def __getstate__(self) -> dict[str, Any]:
        """Without what is held: another process reads it from the folder."""
        held = sum(value.nbytes for one in self._held.values() for value in one.values())
        return {**self.__dict__, "_held": {}, "_room": self._room + held}

    def tensors(
        self, kind: str, key: str, compute: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """The tensors under a key, computed and written if they are not there yet.

        Args:
            kind: `"latents"` or `"prompts"`.
            key: hexadecimal hash of what is encoded.
            compute: makes them.

        Raises:
            CreditlineError: if a file is damaged.
        """
        path = self.folder / kind / key[:2] / f"{key}.safetensors"
        held = self._held.get(path)
        if held is not None:
            return held
        values = self._stored(path, compute)
        size = sum(value.nbytes for value in values.values())
        if size <= self._room:
            self._held[path], self._room = values, self._room - size
        return values

    def _stored(self, path: Path, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        if not path.is_file():
            values = {name: value.contiguous().cpu() for name, value in compute().items()}
            write_file(path, lambda aside: save_file(values, aside), overwrite=True)
            return values
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise CreditlineError(
                f"{path} is damaged ({error}). Delete it; it is computed again."
            ) from error
