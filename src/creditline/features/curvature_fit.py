"""The fit of preconditioners for gradient features: one under each model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser
from creditline.errors import ModelError
from creditline.features.gradient_state import make_preconditioner
from creditline.gradients.autograd_engine import AutogradEngine
from creditline.gradients.engine import Engine
from creditline.gradients.engine_choice import make_engine
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.objective import Objective
from creditline.gradients.parameters import Layer
from creditline.gradients.preconditioning.fit import fit_preconditioner
from creditline.gradients.preconditioning.preconditioner import Preconditioner
from creditline.gradients.spec import FeatureSpec
from creditline.runtime import Runtime


@dataclass(frozen=True)
class CurvatureFit:
    """Fits the preconditioner of each model to the training images.

    Attributes:
        spec: of the features.
        layers: of the gradient.
        prepare: sizes the passes of an engine for some images, and verifies hooks.
    """

    spec: FeatureSpec
    layers: tuple[Layer, ...]
    prepare: Callable[[Engine, ImageSet], None]

    def preconditioners(
        self, denoisers: Sequence[Denoiser], images: ImageSet, runtime: Runtime, folder: Path | None
    ) -> list[Preconditioner | None]:
        """Fit one preconditioner per model; None where features have none.

        Args:
            denoisers: the models.
            images: the training images.
            runtime: where parts run.
            folder: holds the files of fits; by default they are not kept.

        Raises:
            ModelError: if a preconditioner needs hooks, which do not fit the model.
        """
        preconditioners = [make_preconditioner(self.spec, self.layers) for _ in denoisers]
        with ExitStack() as stack:
            if folder is None:
                folder = Path(stack.enter_context(TemporaryDirectory()))
            for denoiser, preconditioner in zip(denoisers, preconditioners, strict=True):
                if preconditioner is not None:
                    engine = self._engine(preconditioner, denoiser, images)
                    mirror = self.spec.plan.mirror
                    fit_preconditioner(preconditioner, engine, images, folder, runtime, mirror)
        return preconditioners

    def _engine(
        self, preconditioner: Preconditioner, denoiser: Denoiser, images: ImageSet
    ) -> Engine:
        """Make an engine of explicit gradients of the training loss; hooks are verified."""
        spec = replace(self.spec, objective=Objective(), normalize="none")
        by_autograd = self.spec.engine == "autograd" and not preconditioner.needs_hooks
        kind: type[Engine] = AutogradEngine if by_autograd else HookEngine
        engine = make_engine(kind, spec, denoiser, self.layers, None)
        try:
            self.prepare(engine, images)
        except ModelError as error:
            raise ModelError(
                f"The preconditioner {self.spec.preconditioning.preconditioner!r} sees layers by "
                f"hooks, which do not fit this model: {error} For the curvature choose another "
                "preconditioner as well (--preconditioner diagonal-fisher)."
            ) from error
        return engine
