"""Index: the handle on an index folder; traces queries and answers what it was made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np

from creditline import __version__, fingerprint, methods
from creditline.curvature.spectrum import Spectrum
from creditline.errors import CreditlineError, IndexMismatchError, SettingsError, difference
from creditline.features import Features
from creditline.files import write_file
from creditline.indexing.extractor import QUERY_BATCH, Extractor
from creditline.indexing.queries import FeatureBlock, Queries, QueryFeatures, without_halves
from creditline.indexing.rank import Ranker
from creditline.indexing.sources import described, method_of, settings_of
from creditline.indexing.spectra import fitted
from creditline.indexing.store import Store, StoredErrors
from creditline.manifest import Manifest
from creditline.methods.base import Method, RidgeMethod
from creditline.methods.noise import ScoreNoise
from creditline.methods.shape import ScoreShape
from creditline.settings import override, require, to_dict
from creditline.trace import MethodCard, QueryTrace, Trace

HALVES = ("first-half", "second-half")


class Index:
    """Features of every training image of a model, ready to be searched.

    Args:
        path: folder that `creditline.index` or `creditline index` wrote.
        models: the indexed models, when they are at hand; otherwise they are loaded from where
            the manifest says when a query first needs them.
        encoder: the encoder, for an index built with a callable.
        device: where queries are computed.

    Attributes:
        manifest: what the index was built from.
        method: how it scores; see `using`.
        n: number of training images.
        models: number of models C.
        dim: feature dimension k.
        learning_rates: of each model's checkpoint, or None.
        errors: table of the features' errors; None where their noise was not halved.

    Raises:
        CreditlineError: if the folder is no index, or is not complete.
    """

    def __init__(
        self, path: str | Path, *, models: Any = None, encoder: Any = None, device: str = "cpu"
    ) -> None:
        self.path = Path(path)
        self.manifest = Manifest.read(self.path, "index")
        if self.manifest.status != "complete":
            raise CreditlineError(
                f"{self.path} is not complete. Run the `creditline index` command that began it "
                "once more; it continues where it stopped."
            )
        request = self.manifest.request
        self.n: int = request["images"]["n"]
        self.models: int = request["features"]["models"]
        self.dim: int = request["features"]["dim"]
        self.learning_rates = tuple(m.get("learning_rate") for m in request["models"])
        self.method = method_of(request)
        self._extractor = Extractor(self.manifest, models, encoder, device)
        if "halves" not in request["features"]:
            raise CreditlineError(
                f"{self.path} was made by an earlier version and does not say whether the noise of "
                "its features has halves. Build it again with --overwrite."
            )
        halves: bool = request["features"]["halves"]
        self._store = Store(self.path, self.models, self.dim, halves)
        self.errors: Features | None = StoredErrors(self._store, self.n) if halves else None
        # Shared by all that `using` returns.
        self._spectra: dict[tuple[bool, str], list[Spectrum]] = {}

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        return f"Index({str(self.path)!r}, {self.n:,} images, {self.method.title}, k={self.dim})"

    def chunks(self, model: int) -> Iterator[tuple[int, np.ndarray]]:
        """Stored features of one model, float64, chunk by chunk (see `Features`)."""
        return self._store.chunks(model)

    def features(self, model: int = 0) -> np.ndarray:
        """All stored features of one model, float64 of shape `(n, k)`."""
        return np.concatenate([rows for _, rows in self.chunks(model)])

    def using(self, method: str | Method | None = None, **settings: Any) -> Self:
        """The same index with another method or other settings of it; costs no extraction.

        Args:
            method: name or instance; it must be fitted on the features that are stored.
            settings: settings of the method to change, by name, such as `damping=0.01`.

        Raises:
            IndexMismatchError: if the method needs other features, naming them.
            SettingsError: on an unknown method or setting.
        """
        chosen = self._choose(method) if method is not None else self.method
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.method = override(chosen, settings).unfitted()
        self._require_features(other.method)
        return other

    def trace(
        self,
        queries: Any,
        *,
        top: int = 20,
        method: str | Method | None = None,
        prompts: str | Sequence[str] | None = None,
    ) -> Trace:
        """The training images that pictures owe most to.

        Args:
            queries: paths, folders, Pillow images, arrays, tensors (floats in [-1, 1]), lists of
                these, an `ImageSet`, or what `extract` returned.
            top: proponents and opponents to return for each, fewer where fewer scores have that
                sign.
            method: score with another method on the same features; see `using`.
            prompts: see `extract`.

        Returns:
            A `Trace`: per query its proponents, opponents and totals.

        Raises:
            DataError: if a picture is missing, unreadable or of another shape.
            SettingsError: if `top` is below 1.
        """
        require(top >= 1, "top must be at least 1", top, "Try 20.")
        if method is not None:
            return self.using(method).trace(queries, top=top, prompts=prompts)
        if prompts is not None:
            queries = self.extract(queries, prompts)
        prepared, features = self._ready(queries)
        ranker = Ranker(self._store, self.self_influence(), self.method.causal, self.shape)
        traces: list[QueryTrace] = []
        for block in features:
            scores, noise = self._scores(block), self._noise(block)
            for i, position in enumerate(block.positions):
                for unit, row in enumerate(scores[i]):
                    suffix = self._unit_name(prepared, position, unit)
                    floor = None if noise is None else noise.of(i)
                    traces.append(ranker.rank(row, floor, top, prepared, position, suffix))
        return Trace(
            method=self.card(),
            settings=settings_of(self.manifest, self.method),
            n_train=self.n,
            queries=tuple(traces),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            version=__version__,
        )

    def scores(self, queries: Any, *, out: str | Path | None = None) -> np.ndarray:
        """The whole score matrix, on request, in the method's shape (`ScoreShape`).

        Args:
            queries: as in `trace`.
            out: write to this `.npy` file as rows are finished and return a memory map of it.

        Returns:
            float64 of shape `(m, n)`, or `(m, t, n)` for a method that keeps timesteps.
        """
        prepared, features = self._ready(queries)
        matrix: np.ndarray | None = None
        for block in features:
            scores = self._shaped(block)
            scores = scores if self.method.keeps_timesteps else scores[:, 0]
            if matrix is None:
                shape = (len(prepared.images), *scores.shape[1:])
                matrix = (
                    np.empty(shape)
                    if out is None
                    else np.lib.format.open_memmap(out, "w+", np.float64, shape)
                )
            matrix[block.positions.start : block.positions.stop] = scores
        if matrix is None:
            raise SettingsError("There is no query to score. Give at least one picture.")
        return matrix

    def extract(self, queries: Any, prompts: str | Sequence[str] | None = None) -> QueryFeatures:
        """Features of queries, to be scored by several methods or dampings.

        Args:
            queries: as in `trace`.
            prompts: what pictures were made from, where the model reads prompts: one, or one for
                each; by default their captions, or what `creditline generate` recorded.
        """
        prepared = self._extractor.prepare(queries, self.method, prompts)
        blocks = list(self._extractor.extract(prepared, self.method))
        values = np.concatenate([block.values for block in blocks])
        errors = [block.errors for block in blocks if block.errors is not None]
        together = np.concatenate(errors) if errors else None
        return QueryFeatures(prepared, values, together, self._extractor.recipe(self.method))

    def noise(self, features: QueryFeatures) -> ScoreNoise:
        """How much noise there is in the scores of queries.

        Args:
            features: what `extract` returned.

        Raises:
            SettingsError: if the index's or the queries' noise has no halves.
        """
        self.require_errors()
        _, blocks = self._features(features)
        self._fit()
        parts = [self._noise(block) for block in blocks]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts) or not parts:
            raise without_halves("these queries have none")
        return ScoreNoise.stacked(found)

    def require_errors(self) -> None:
        """Refuse, before queries are extracted, what needs an error that no score can have.

        Raises:
            SettingsError: if the noise of the index's features has no halves.
        """
        if self.errors is None:
            raise without_halves("the index has none")

    def self_influence(self) -> np.ndarray:
        """Score of every training image for itself, float64 of shape `(n,)`.

        Computed once for each method and setting, then kept in the index folder.
        """

        def compute() -> np.ndarray:
            self._fit()
            return self.method.self_influence()

        return self._kept("self-influence", compute)

    def _kept(self, what: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """What is computed once for each method and setting, then read from the index folder."""
        settings = {k: v for k, v in described(self.method).items() if k != "score_shape"}
        key = fingerprint.of_json({"name": self.method.name, **settings})
        path = self.path / f"{what}-{key[:12]}.npy"
        if not path.is_file():
            values = compute()
            write_file(path, lambda aside: np.save(aside, values), overwrite=True)
        return np.load(path)

    def card(self) -> MethodCard:
        """What a reader must know about the method."""
        m = self.method
        return MethodCard(m.name, m.title, m.paper, m.formula, m.causal, str(self.shape))

    def digest(self) -> str:
        """Hash of all stored facts, pictures, features and norms, in row order."""
        return self._store.digest()

    def info(self) -> dict[str, Any]:
        """What the index holds, for people."""
        files = [f for f in self.path.rglob("*") if f.is_file()]
        return {
            "path": str(self.path),
            "images": self.n,
            "title": self.method.title,
            "models": self.models,
            "feature dimension": self.dim,
            "bytes on disk": sum(f.stat().st_size for f in files),
            **{k: dict(v) for k, v in settings_of(self.manifest, self.method).items()},
            "facts": dict(self.manifest.facts),
        }

    def _choose(self, method: str | Method) -> Method:
        """An instance of a named method on this index's features."""
        if isinstance(method, Method):
            return method
        cls = methods.get(method)
        alike = cls.query_plan is type(self.method).query_plan
        names = ["features", "ridge", "encoder", "score_shape", *(["query_draws"] if alike else [])]
        shared = {
            name: getattr(self.method, name)
            for name in names
            if hasattr(self.method, name) and name in cls.__dataclass_fields__  # type: ignore[attr-defined]
        }
        if "features" in shared:
            default = cls().features.objective  # type: ignore[attr-defined]
            if shared["features"].objective != default:
                lines = difference(to_dict(shared["features"].objective), to_dict(default))
                raise IndexMismatchError(
                    f"{cls.title} differentiates another objective than this index holds:\n"
                    + "\n".join(lines)
                    + f"\nBuild an index with --method {cls.name}, or pass an instance with the "
                    "settings you mean."
                )
        return cls(**shared)

    def _require_features(self, method: Method) -> None:
        mine, other = self.method, method
        if mine.source != other.source:
            raise IndexMismatchError(
                f"{other.title} needs {other.source}; this index holds {mine.source}. "
                f"Build one with --method {other.name}."
            )
        held, given = (getattr(m, "features", None) for m in (mine, other))
        if held != given:
            raise IndexMismatchError(
                f"{other.title} was given other feature settings than the index holds:\n"
                + "\n".join(difference(to_dict(held), to_dict(given)))
                + "\nTake them from index.method.features."
            )

    def _fit(self) -> None:
        if not hasattr(self.method, "features_"):
            self._fit_on(self.method, self)

    def _fit_halves(self) -> None:
        """Fit the method on each half of the noise, with spectra that are kept like the whole's."""
        if not hasattr(self.method, "halves_"):
            halves = []
            for part, table in zip(HALVES, self.method.half_features(), strict=True):
                halves.append(self._fit_on(self.method.unfitted(), table, part))
            self.method.halves_ = tuple(halves)
            self.method.error_scale_ = self._kept("error-scale", self.method.error_scale)

    def _fit_on(self, method: Method, features: Features, part: str = "") -> Method:
        if not isinstance(method, RidgeMethod):
            return method.fit(features)
        key = method.ridge.centre, part
        if key not in self._spectra:
            self._spectra[key] = fitted(self.path, features, *key)
        return method.fit(features, self._spectra[key])

    @property
    def shape(self) -> ScoreShape:
        """Of the scores that count for shares and that `scores` returns."""
        return getattr(self.method, "score_shape", ScoreShape())

    def _ready(self, queries: Any) -> tuple[Queries, Iterator[FeatureBlock]]:
        """As `_features`, with everything in place for scoring them."""
        if self.shape.needs_error:
            self.require_errors()
        found = self._features(queries)
        self._fit()
        return found

    def _features(self, queries: Any) -> tuple[Queries, Iterator[FeatureBlock]]:
        """Queries that have been checked, and their features, extracted when asked for."""
        if not isinstance(queries, QueryFeatures):
            prepared = self._extractor.prepare(queries, self.method)
            return prepared, self._extractor.extract(prepared, self.method)
        lines = difference(dict(queries.recipe), self._extractor.recipe(self.method))
        if lines:
            raise IndexMismatchError(
                "These query features were extracted for something else:\n"
                + "\n".join(lines)
                + "\nExtract them again with this index and method."
            )
        return queries.queries, queries.blocks(QUERY_BATCH)

    def _scores(self, block: FeatureBlock) -> np.ndarray:
        """Plain scores of shape `(b, units, n)`."""
        scores = self.method.attribute(block.values.reshape(-1, self.models, self.dim))
        return scores.reshape(len(block.positions), -1, self.n)

    def _noise(self, block: FeatureBlock) -> ScoreNoise | None:
        """Their noise, where both sides' noise has halves."""
        if self.errors is None or block.errors is None:
            return None
        self._fit_halves()
        return self.method.noise(block.values[:, 0], block.errors)

    def _shaped(self, block: FeatureBlock) -> np.ndarray:
        """Scores in the method's shape, `(b, units, n)`."""
        noise = self._noise(block) if self.shape.needs_error else None
        error = None if noise is None else noise.error[:, None]
        return self.shape.apply(self._scores(block), error)

    def _unit_name(self, queries: Queries, position: int, unit: int) -> str:
        run = queries.trajectories[position]
        if not self.method.keeps_timesteps or run is None:
            return ""
        return f" at t={int(run.timesteps[unit])}"
