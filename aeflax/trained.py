"""The `Run` that training and loading return: everything that a trained autoencoder can do."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aeflax.applications.inference import Inference, Inputs
from aeflax.config import Experiment
from aeflax.data.checks import prepared, require_examples
from aeflax.data.dataset import Dataset
from aeflax.data.sources import Examples
from aeflax.engine.state import TrainState
from aeflax.errors import ConfigError
from aeflax.evaluation.baseline import pca
from aeflax.evaluation.scores import evaluate
from aeflax.program import Program
from aeflax.report.gather import Kept, gather
from aeflax.report.material import Material
from aeflax.schema import from_dict
from aeflax.words import command


class Run:
    """A trained autoencoder: its experiment, its state and, where it was kept, its directory.

    Values go in as they were in training, and come out in the same units; a run trained on uint8 images also takes
    floats in [0, 1].

    Attributes:
      experiment: the resolved configuration.
      state: parameters, optimizer state and counters.
      summary: status, step, speed, digest of the state and metrics of the finished run; None if unfinished.
      path: the run directory, None for a run that was not kept.

    Example:
      >>> run = aeflax.train(aeflax.presets.vae(latent_dim=8), data="digits")
      >>> codes = run.encode(images)  # [N, 8]
      >>> run.reconstruct(images), run.sample(64), run.score(images)
    """

    def __init__(
        self,
        program: Program,
        state: TrainState,
        inputs: Inputs,
        *,
        manifest: Mapping[str, Any],
        records: Sequence[Mapping[str, Any]],
        summary: dict[str, Any] | None,
        path: Path | None,
        dataset: Callable[[], Dataset],
        kept: Callable[[], Kept],
    ) -> None:
        self.experiment = program.experiment
        self.state = state
        self.summary = summary
        self.path = path
        self._program, self._inputs, self._manifest, self._records = program, inputs, manifest, records
        self._dataset, self._kept = functools.cache(dataset), functools.cache(kept)

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        return int(self.state.step)

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self.state.params))

    @property
    def history(self) -> dict[str, dict[str, np.ndarray]]:
        """The metrics log as arrays: split -> name -> values [records], beside `step` and `epoch`.

        A metric that some record of the split lacks is NaN there.
        """
        history: dict[str, dict[str, np.ndarray]] = {}
        for split in dict.fromkeys(record["split"] for record in self._records):
            rows = [record for record in self._records if record["split"] == split]
            names = dict.fromkeys(name for row in rows for name in row if name != "split")
            history[split] = {name: np.array([row.get(name, math.nan) for row in rows]) for name in names}
        return history

    def encode(self, examples: np.ndarray) -> np.ndarray:
        """Examples [N, ...] -> codes [N, K] float32; the mean of a posterior.

        Raises:
          DataError: for values of another shape or range than the run was trained on.
        """
        return _joined(self.inference.encode([_array(examples)]), (0, self.experiment.model.latent_dim or 0))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes [N, K] -> expected examples [N, ...] float32, in the units of the run's data.

        Raises:
          DataError: for codes of another size.
        """
        return self.inference.decode(codes)

    def reconstruct(self, examples: np.ndarray) -> np.ndarray:
        """Examples [N, ...] -> their reconstructions, float32 in the same shape and units.

        Raises:
          DataError: as `encode`.
        """
        values = _array(examples)
        return _joined(self.inference.reconstruct([values]), values.shape).reshape(np.shape(examples))

    def sample(self, count: int, *, seed: int = 0) -> np.ndarray:
        """Expected examples [count, ...] float32 at codes drawn from the prior, in the units of the run's data.

        Raises:
          ConfigError: where the code has no prior: it needs a posterior, as the preset `vae` has.
        """
        return self.inference.sample(count, seed=seed)

    def score(self, examples: np.ndarray) -> np.ndarray:
        """Examples [N, ...] -> anomaly scores [N] float32, higher is odder: the squared error per feature.

        Raises:
          DataError: as `encode`.
        """
        return _joined(self.inference.score([_array(examples)]), (0,))

    def evaluate(self, split: str = "test") -> dict[str, float]:
        """Metrics over a whole split: train, validation, test or all. Names and units: `aeflax.evaluation.scores`.

        Raises:
          ConfigError: if there is no such split.
          DataError: if the run's data cannot be read or has changed.
        """
        return evaluate(self._program, self.state, self._dataset(), split)

    def split(self, name: str) -> Examples:
        """The examples and labels of a split of the run's data, as stored.

        Raises:
          ConfigError: if there is no such split.
          DataError: if the run's data cannot be read or has changed.
        """
        return self._dataset().split(name)

    def pca(self) -> dict[str, Any]:
        """PCA at the same code size: `dim`, `compresses` and its `test` metrics.

        Raises:
          DataError: if the run's data cannot be read or has changed.
        """
        return pca(self._program, self._dataset())

    def report(self, directory: str | Path | None = None) -> Path:
        """Draws `figures/*.png` and the self-contained page `report.html`.

        Args:
          directory: where they go; None: the run directory.

        Returns:
          The path of the page.

        Raises:
          ConfigError: for a run that was not kept, where no directory is given.
        """
        from aeflax.report import page

        place = self.path if directory is None else Path(directory)
        if place is None:
            raise ConfigError("this run was not kept in a directory; say where the report goes: run.report(DIRECTORY)")
        place.mkdir(parents=True, exist_ok=True)
        return page.write(self._material, place)

    def __repr__(self) -> str:
        model = self.experiment.model
        kinds = [part.kind for part in (model.corruption, model.backbone, model.bottleneck) if part.kind != "none"]
        return f"Run({' '.join(kinds)}, code {model.latent_dim}, step {self.step}, path={self.path})"

    def _repr_html_(self) -> str:
        from aeflax.report import page

        return page.fragment(self._material)

    @functools.cached_property
    def inference(self) -> Inference:
        """The same functions for data of any size, batch by batch."""
        return Inference(self._program, self.state, self._inputs)

    @property
    def _material(self) -> Material:
        manifest = self._manifest
        try:
            words = command(from_dict(Experiment, manifest["experiment"]), manifest["preset"])
        except ConfigError as error:
            words = str(error)
        return gather(
            self.inference,
            self._kept(),
            name=manifest["preset"] if self.path is None else self.path.name,
            summary=self.summary or {"step": self.step},
            history=self._records,
            manifest=manifest,
            command=words,
        )


def _array(examples: np.ndarray) -> np.ndarray:
    values = np.asarray(examples)
    if not len(values.shape) or len(values):  # none at all is no mistake here
        require_examples(values, "the array")
        return prepared(values, "the array") if values.dtype != np.uint8 else values
    return values


def _joined(batches: Any, empty: tuple[int, ...]) -> np.ndarray:
    """One array of all batches."""
    found = list(batches)
    return np.concatenate(found) if found else np.empty((0, *empty[1:]), np.float32)
