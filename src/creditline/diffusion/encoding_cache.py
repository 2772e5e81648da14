"""The encoding cache: latents and text embeddings in files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from creditline.errors import CreditlineError, DamageError, IndexMismatchError, difference
from creditline.notice import notice
from creditline.stored_arrays import read_tensors, write_tensors
from creditline.stored_json import OBJECT, read_json, write_json

ENCODERS = "encoder.json"


class EncodingCache:
    """A folder of encoded images and prompts, computed at first use.

    Every file is written atomically and depends on its key alone. So several processes can fill
    the folder at the same time, and an interrupted run continues.

    Args:
        folder: the folder; created if it does not exist.
        encoders: fingerprints of the encoders, by name.
        memory: bytes of encodings to hold in memory, so that they are not read again.

    Raises:
        IndexMismatchError: if the folder's encodings are those of other encoders.
        CreditlineError: if the folder holds something else.
    """

    def __init__(self, folder: Path, encoders: Mapping[str, str], memory: int = 0) -> None:
        self.folder = folder
        self._memory: dict[Path, dict[str, Tensor]] = {}
        self._free_bytes = memory
        path = folder / ENCODERS
        if not path.is_file():
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise CreditlineError(
                    f"{folder} holds something other than encoded images. Name another folder."
                )
            write_json(path, encoders)
            return
        stored = read_json(path, f"Delete {folder}; it is made again.", OBJECT)
        lines = difference(stored, dict(encoders))
        if lines:
            raise IndexMismatchError(
                f"The latents and text embeddings in {folder} were encoded by another autoencoder "
                "or text encoder, or otherwise:\n"
                + "\n".join(lines)
                + "\nName another folder (encoded=, --encoded), or use the model they are of."
            )

    def __getstate__(self) -> dict[str, Any]:
        """Drop what is in memory: another process reads it from the folder."""
        used = sum(x.nbytes for tensors in self._memory.values() for x in tensors.values())
        return {**self.__dict__, "_memory": {}, "_free_bytes": self._free_bytes + used}

    def tensors(
        self, kind: str, key: str, compute: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Return the tensors of a key; compute and write them if they are missing.

        Args:
            kind: `"latents"` or `"prompts"`.
            key: hexadecimal hash of the image or prompt.
            compute: returns them.
        """
        path = self.folder / kind / key[:2] / f"{key}.safetensors"
        cached = self._memory.get(path)
        if cached is not None:
            return cached
        values = self._read_or_compute(path, compute)
        size = sum(value.nbytes for value in values.values())
        if size <= self._free_bytes:
            self._memory[path], self._free_bytes = values, self._free_bytes - size
        return values

    def _read_or_compute(
        self, path: Path, compute: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        if path.is_file():
            try:
                return read_tensors(path, load_file, "It is computed again.")
            except DamageError as error:
                notice(str(error))
        values = {name: value.contiguous().cpu() for name, value in compute().items()}
        write_tensors(path, values, save_file, durable=False)
        return values
