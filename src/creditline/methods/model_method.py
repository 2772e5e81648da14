"""Model methods: they need the model and the training images when a query comes."""

from __future__ import annotations

from typing import ClassVar, Self

from creditline.data.image_set import ImageSet
from creditline.errors import SettingsError
from creditline.methods.attributor import Attributor
from creditline.methods.capabilities import Capabilities
from creditline.methods.fit_context import FitContext
from creditline.methods.scores import QueryBatch


class ModelAttributor(Attributor):
    """Base of every model method; a subclass says how queries are scored, in `score`.

    `context_.models` and `context_.images` hold the models and the training images. A method that
    changes weights changes those of a copy.
    """

    capabilities: ClassVar = Capabilities(kind="model", models="final")

    def fit(self, context: FitContext) -> Self:
        """Take over models and training images.

        Raises:
            SettingsError: if the context lacks one of them.
        """
        if not context.models or context.images is None:
            missing = "training images" if context.models else "a model"
            raise SettingsError(
                f"{self.title} needs {missing} when a query comes. Give "
                "FitContext(models=..., images=...)."
            )
        self.context_ = context
        self.learn(context)
        return self

    def learn(self, context: FitContext) -> None:
        """Learn what does not depend on a query, if anything."""

    def query_images(self, queries: QueryBatch) -> ImageSet:
        """The images of queries.

        Raises:
            SettingsError: if the method is not fitted, or there are none.
        """
        self._require_fitted()
        if queries.images is None:
            raise SettingsError(
                f"{self.title} scores images, and these queries have none. Give "
                "QueryBatch(images=...)."
            )
        return queries.images
