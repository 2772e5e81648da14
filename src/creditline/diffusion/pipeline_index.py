"""model_index.json of a pipeline: its class and components, checked before any is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from creditline.diffusion.json_file import read_json
from creditline.errors import ModelError

UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
"""Components that do not affect a pipeline's loss."""

LIBRARIES = ("diffusers", "transformers")
"""Libraries that components may come from. Any other name is that of a file with code."""


@dataclass(frozen=True)
class PipelineIndex:
    """The contents of a `model_index.json`.

    Attributes:
        folder: of the pipeline.
        pipeline: name of its class.
        components: library and class by name, of those that it has and that affect its loss.
        absent: names of the components that it lacks, or that do not affect its loss.
    """

    folder: Path
    pipeline: str
    components: dict[str, tuple[str, str]]
    absent: tuple[str, ...] = ()

    def require_folders(self) -> None:
        """Refuse a pipeline that lacks a component's folder, such as a tokenizer's.

        Raises:
            ModelError: naming the component.
        """
        for name, (_, kind) in self.components.items():
            place = self.folder / name
            if not (place.is_dir() and any(place.iterdir())):
                raise ModelError(
                    f"{self.folder} lists {name} ({kind}) in model_index.json and has no folder of "
                    f"that name, or an empty one. Save the complete pipeline, with its {name}."
                )

    def further(self, component: str) -> list[str]:
        """Return the components besides a network and its scheduler."""
        return [name for name in self.components if name not in (component, "scheduler")]


def read_pipeline_index(folder: Path) -> PipelineIndex:
    """Read a pipeline's index.

    Raises:
        ModelError: if it is damaged, or names code of its own.
    """
    path = folder / "model_index.json"
    values = read_json(path)
    pipeline = values.get("_class_name")
    if not isinstance(pipeline, str):
        raise ModelError(
            f"{path} names the class {pipeline!r}, which is not one of diffusers. Pipelines with "
            "code of their own are not loaded."
        )
    components: dict[str, tuple[str, str]] = {}
    absent = []
    for name, entry in values.items():
        if name.startswith("_") or not isinstance(entry, (list, dict)):
            continue  # a setting of the pipeline
        if (
            isinstance(entry, dict)
            or len(entry) != 2
            or not all(x is None or isinstance(x, str) for x in entry)
        ):
            raise ModelError(f"{path} lists {name} as {entry!r}, which is no library and class.")
        library, kind = entry
        if library is None or kind is None or name in UNUSED:
            absent.append(name)
            continue
        if library not in LIBRARIES or not kind.isidentifier() or not name.isidentifier():
            raise ModelError(
                f"{path} lists {name} as {library}.{kind}, which is not a class of "
                f"{' or '.join(LIBRARIES)}. Components with code of their own are not loaded."
            )
        components[name] = library, kind
    return PipelineIndex(folder, pipeline, components, tuple(absent))
