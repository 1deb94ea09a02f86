"""The `Run` that training and loading return: everything that a trained autoencoder can do."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aeflax.applications import anomaly, oddities, residuals, scoring, separation, trust
from aeflax.applications.inference import Inference, joined
from aeflax.config.plain import to_dict
from aeflax.data.checks import as_examples
from aeflax.data.dataset import Dataset, Domain
from aeflax.data.inputs import Inputs
from aeflax.data.intake import Intake
from aeflax.data.kept import Kept
from aeflax.data.sources import Examples
from aeflax.engine.state import TrainState, parameters_of
from aeflax.errors import ConfigError, DataError, warn
from aeflax.evaluation.baseline import pca
from aeflax.evaluation.floor import with_floor
from aeflax.evaluation.scores import evaluate
from aeflax.judge import Judge
from aeflax.program import Program
from aeflax.report.gather import gather
from aeflax.report.material import Material
from aeflax.report.sound import numbers, series, sound
from aeflax.rundir import runs
from aeflax.rundir.checkpoint import state_sha256
from aeflax.rundir.manifest import columns_of
from aeflax.words import again

_NO_METRICS = ("step", "epoch", "split")  # of a record


class Run:
    """A trained autoencoder: its experiment, its state and, where it was kept, its directory.

    Values go in as they were in training, and come out in the same units; a run trained on uint8 images without a
    fitted scaling also takes floats in [0, 1].

    Attributes:
      experiment: the resolved configuration.
      state: parameters, optimizer state and counters.
      summary: status, step, speed, digest of the state and metrics of the finished run; None if unfinished, and for
        another checkpoint than its last.
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
        domain: Domain,
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
        self.summary = summary if summary is not None and summary.get("step") == self.step else None
        self.path = path
        self._program, self._domain, self._manifest, self._records = program, domain, manifest, numbers(records)
        self._of_run = summary or {}
        data = self.experiment.data
        self._given = Intake(domain, self.columns, data.drop, data.label)
        self._dataset, self._kept = functools.cache(dataset), functools.cache(kept)

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        return int(self.state.step)

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return parameters_of(self.state.params)

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of the features of the table that it was trained on; None where that was no table with a header."""
        return columns_of(self._manifest)

    @property
    def history(self) -> dict[str, dict[str, np.ndarray]]:
        """The metrics log as arrays: split -> name -> values [records], beside `step` and `epoch`.

        A metric that some record of the split lacks is NaN there.
        """
        return series(self._records)

    def encode(self, examples: np.ndarray) -> np.ndarray:
        """Examples [N, ...] -> codes [N, K] float32; the mean of a posterior.

        Raises:
          DataError: for values of another shape or range than the run was trained on.
        """
        return joined(self.inference.encode([self._given.examples(examples)]), (0, self.inference.code_size))

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
        given = self._given.array(examples)
        values = as_examples(given, fill=self._domain.fill)
        return joined(self.inference.reconstruct([values]), values.shape).reshape(np.shape(given))

    def sample(self, count: int, *, seed: int = 0, temperature: float = 1.0) -> np.ndarray:
        """Expected examples [count, ...] float32 at codes drawn from the prior, in the units of the run's data.

        Raises:
          ConfigError: where the code has no prior: it needs a posterior, as the preset `vae` has; for a temperature,
            which multiplies the codes, outside [0, 1e6].
        """
        return self.inference.sample(count, seed=seed, temperature=temperature)

    def score(self, examples: np.ndarray) -> np.ndarray:
        """Examples [N, ...] -> anomaly scores [N] float32, higher is odder: the plain squared error per feature.

        `detect` scores the rows of tables by standardized residuals, which its `threshold` belongs to.

        Raises:
          DataError: as `encode`.
        """
        return joined(self.inference.score([self._given.examples(examples)]), (0,))

    def evaluate(self, split: str = "test") -> dict[str, float]:
        """Metrics over a whole split: train, validation, test or all. Names and units: `aeflax.evaluation.scores`.

        Raises:
          ConfigError: if there is no such split.
          DataError: if the run's data cannot be read or has changed.
        """
        if not isinstance(split, str):
            raise ConfigError("evaluate takes the name of a split; for other examples there are score and detect")
        program, dataset = self._program, self._dataset()
        return with_floor(program, dataset, split, evaluate(program, self.state, dataset, split))

    def split(self, name: str) -> Examples:
        """The examples and labels of a split of the run's data, as stored.

        Raises:
          ConfigError: if there is no such split.
          DataError: if the run's data cannot be read or has changed.
        """
        return self._dataset().split(name)

    def pca(self) -> dict[str, Any]:
        """PCA at the same code size: `dim`, `compresses`, its `test` metrics, and `variance`.

        That is the test split's per feature, which its errors are a share of, as `aeflax.evaluation.baseline.pca` says.

        Raises:
          DataError: if the run's data cannot be read or has changed.
        """
        return pca(self._program, self._dataset())

    @functools.cached_property
    def judge(self) -> Judge:
        """What the run is worth at each application: `run.judge.codes()`, `run.judge.trust()`, ..."""
        metrics = sound(self.summary or self._logged())
        return Judge(self.inference, self._dataset, self._kept, metrics, self.path, state_sha256(self.state))

    def unfamiliar(self, examples: np.ndarray | Inputs) -> str | None:
        """A sentence where examples [N, ...] are unlike the run's data; else None: `aeflax.applications.trust`."""
        return trust.unfamiliar(self.inference, self._kept().values, self._given.inputs(examples))

    def detect(
        self,
        examples: np.ndarray | Inputs,
        labels: np.ndarray | None = None,
        *,
        kind: scoring.Kind | None = None,
        contamination: float = 0.05,
        threshold: float | None = None,
        samples: int = 32,
        baselines: bool = True,
        keep: bool = True,
    ) -> anomaly.Detection:
        """Which examples [N, ...] are unlike the training split's, by a threshold that it gives.

        What is found is kept as `judge` does, for the report, unless `keep` is False: to look at single rows.
        A `threshold` that is given needs no training data. Arguments (`labels` [N]: 1 where an example is anomalous;
        None: what `data.label` of a data frame says, of a run that was trained on some classes), result, errors:
        `aeflax.applications.scoring.Options` and `aeflax.applications.anomaly.detect`.
        """
        inputs = self._given.inputs(examples)
        classes = self.experiment.data.classes
        if classes and labels is None and inputs.labels is not None and inputs is not examples:  # of a data frame
            labels = separation.by_classes(np.asarray(inputs.labels[:]), classes, inputs.name)
            if labels is None:
                warn(f"the labels of the data frame judge nothing: none of them, or all, are {', '.join(classes)}")
        options = scoring.Options(
            kind=kind, contamination=contamination, threshold=threshold, samples=samples, baselines=baselines
        )
        dataset = None if threshold is not None else self._dataset()
        found, explained = anomaly.detect(self.inference, dataset, self._known, inputs, labels, options), None
        if self.inference.vectors:
            explained = oddities.explain(self.inference, inputs, found, self._known())
            found = replace(found, culprits=oddities.culprits(explained, len(inputs)))
        told, arrays = oddities.findings(self.inference, dataset, inputs, found, explained)
        name = "anomaly" if found.anomalous is None else "separation"  # so that the page keeps what labels judged
        if keep:
            self.judge.remember(name, told, arrays)
        more = {name: told[name] for name in ("oddest", "blamed", "explained") if name in told}
        return replace(found, **more)

    def report(self, directory: str | Path | None = None) -> Path:
        """Draws `figures/*.png` and the self-contained page `report.html`.

        A checkpoint that no summary describes is evaluated anew, or shown as far as the metrics log tells of it where
        the data cannot be read.

        Args:
          directory: where they go; None: the run directory.

        Returns:
          The path of the page.

        Raises:
          ConfigError: for a run that was not kept, where no directory is given; for one that cannot be written to.
          DataError: if neither the kept examples nor the run's data can be read.
        """
        from aeflax.report import page

        place = self.path if directory is None else Path(directory)
        if place is None:
            raise ConfigError("this run was not kept in a directory; say where the report goes: run.report(DIRECTORY)")
        material = self._material(self.summary or self._logged() | self._evaluated())
        if self.path is not None and "trust" not in material.findings:
            self.judge.trust()
            material = replace(material, findings=self.judge.findings())
        try:
            place.mkdir(parents=True, exist_ok=True)
            return page.write(material, place)
        except OSError as error:
            fault = os.strerror(error.errno or 0)
            raise ConfigError(f"cannot write the report to {place}: {fault}; choose another --out") from error

    def export(self, form: str, directory: str | Path | None = None) -> Path:
        """Writes the model in a form that runs without aeflax, checked against it, with `manifest.json` beside it.

        Args:
          form: "stablehlo" (any batch size on CPU, CUDA and TPU; read by JAX alone), "onnx" (read by onnxruntime and
            others), or "safetensors" (weights by name).
          directory: where; None is `export/FORM` in the run directory.

        Returns:
          The directory, which holds a file each for encoder, decoder and the whole, or one of weights.

        Raises:
          ConfigError: where no directory is known, for a form that there is not, or whose extra is missing.
          ExportError: if what was exported computes something else than the model; nothing is written then.
        """
        from aeflax.export.write import export

        if directory is None and self.path is None:
            raise ConfigError("this run is kept nowhere; name a directory for the export")
        place = Path(directory) if directory is not None else Path(self.path or "") / runs.EXPORTS / form
        about = {
            "run": None if self.path is None else self.path.name,
            "step": self.step,
            "state_sha256": state_sha256(self.state),
            "experiment": to_dict(self._program.experiment),
            "inputs": {"columns": None, "fill": None} | self._manifest["inputs"] | {"usual": self._usual()},
        }
        export(self.inference, form, place, about)
        return place

    def _known(self) -> Examples:
        """Examples of the test split that are there wherever the run is."""
        kept = self._kept()
        return Examples(kept.values, kept.labels, kept.index, kept.missing)

    def _usual(self) -> list[float] | None:
        """What is usual of the squared error of each feature; None of images, and where it is not known."""
        if not self.inference.vectors:
            return None
        with suppress(DataError):
            return [*map(float, residuals.usual_of(self.inference, self._known()))]
        return None

    def __repr__(self) -> str:
        model = self.experiment.model
        kinds = [part.kind for part in (model.corruption, model.backbone, model.bottleneck) if part.kind != "none"]
        return f"Run({' '.join(kinds)}, code {model.latent_dim}, step {self.step}, path={self.path})"

    def _repr_html_(self) -> str:
        from aeflax.report import page

        return page.fragment(self._material(self.summary or self._logged()))

    @functools.cached_property
    def inference(self) -> Inference:
        """The same functions for data of any size, batch by batch."""
        return Inference(self._program, self.state, self._domain)

    def _logged(self) -> dict[str, Any]:
        """What a summary would say of this checkpoint, as far as the run's records tell."""
        held = {record["split"]: record for record in self._records if record["step"] == self.step}
        held.pop("train", None)  # means over the steps before, not of this state
        return {
            "status": "checkpoint" if self._of_run else "unfinished",
            "step": self.step,
            "parameters": self.parameters,
            "state_sha256": state_sha256(self.state),
            **{name: self._of_run[name] for name in ("best", "pca") if name in self._of_run},
            **{split: {k: v for k, v in record.items() if k not in _NO_METRICS} for split, record in held.items()},
        }

    def _evaluated(self) -> dict[str, dict[str, float]]:
        """Metrics of every split; none where the data cannot be read."""
        try:
            splits = self._dataset().splits
        except (ConfigError, DataError):
            return {}
        return {split: self.evaluate(split) for split in splits}

    def _material(self, summary: Mapping[str, Any]) -> Material:
        manifest = self._manifest
        return gather(
            self.inference,
            self._kept(),
            name=manifest["preset"] if self.path is None else self.path.name,
            summary=sound(summary),
            history=self._records,
            manifest=manifest,
            command=again(manifest),
            findings=self.judge.findings(),
        )
