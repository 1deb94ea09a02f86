"""How much a trained autoencoder is worth, application by application, each beside what its field would use else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aeflax.applications import codes, denoising, diagnosis, findings, finetune, generation, trust
from aeflax.applications.classifier import Budget
from aeflax.applications.compression import rates
from aeflax.applications.inference import Inference
from aeflax.applications.probes import Counts
from aeflax.data.dataset import Dataset
from aeflax.data.kept import Kept


@dataclass(frozen=True)
class Judge:
    """Judges one state of a run. What it finds is kept in the run's directory, if it has one, and shown by its report.

    Arguments, results and errors of a method are those of the function that its docstring names.

    Attributes:
      inference: the model.
      dataset: the run's data, read when they are asked for.
      kept: the test examples that the run keeps, likewise.
      metrics: of splits by name, as far as the run tells.
      path: the run directory, None for a run that was not kept.
      state_sha256: of the state.
    """

    inference: Inference
    dataset: Callable[[], Dataset]
    kept: Callable[[], Kept]
    metrics: Mapping[str, Any]
    path: Path | None
    state_sha256: str

    def trust(self) -> dict[str, Any]:
        """Whether the model copies its input, and whether it overfits: `aeflax.applications.trust.judge`."""
        found = trust.judge(self.inference, self.kept().values, self.metrics)
        self.remember("trust", found)
        return found

    def codes(
        self, split: str = "test", *, label_counts: Counts | None = None, seeds: int = 5
    ) -> dict[str, dict[str, Any]]:
        """Codes as a reduction of dimension (`codes`) and as features (`transfer`), beside PCA and raw inputs.

        `aeflax.applications.codes.judge`.
        """
        found = codes.judge(self.inference, self.dataset(), split, counts=label_counts, seeds=seeds)
        for name, values in found.items():
            self.remember(name, values)
        return found

    def diagnosis(self, split: str = "test", *, samples: int = 64) -> dict[str, Any]:
        """The panel that fits the model, by its name: its `posterior` or its `sparsity`.

        `aeflax.applications.diagnosis.judge`.
        """
        name, values, arrays = diagnosis.judge(self.inference, self.dataset(), split, samples=samples)
        self.remember(name, values, arrays)
        return {name: values}

    def finetuning(
        self, labels_per_class: Sequence[int], *, budget: Budget | None = None, seeds: int = 5
    ) -> dict[str, Any]:
        """Classifiers that begin with this encoder, beside the same from scratch.

        `aeflax.applications.finetune.finetune`.
        """
        found = finetune.finetune(self.inference, self.dataset(), labels_per_class, budget=budget, seeds=seeds)
        self.remember("finetune", found)
        return found

    def denoising(
        self, *, examples: int = 500, seed: int = 0, watch: Callable[[float], None] = lambda share: None
    ) -> dict[str, Any]:
        """PSNR and SSIM over kinds and levels of noise, beside filters: `aeflax.applications.denoising.judge`."""
        values, arrays = denoising.judge(self.inference, self.dataset(), examples=examples, seed=seed, watch=watch)
        self.remember("denoising", values, arrays)
        return values

    def compression(self, *, examples: int = rates.EXAMPLES) -> dict[str, Any]:
        """Bits per pixel against PSNR and SSIM over step sizes, beside JPEG, WebP and PNG.

        `aeflax.applications.compression.rates.judge`.
        """
        found = rates.judge(self.inference, self.dataset(), self.state_sha256, examples=examples)
        self.remember("compression", found)
        return found

    def generation(self, *, seed: int = 0, temperature: float = 1.0) -> dict[str, Any]:
        """Samples, whether they are copies of training examples, and ways through the code; without a prior only these.

        `aeflax.applications.generation.judge`.
        """
        values, arrays = generation.judge(self.inference, self.dataset(), seed=seed, temperature=temperature)
        self.remember("generation", values, arrays)
        return values

    def findings(self) -> dict[str, findings.Findings]:
        """What is kept of earlier judgements of this state, by name."""
        return findings.load(self.path, self.state_sha256)

    def remember(self, name: str, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> None:
        """Keeps what was found; warns where that cannot be written."""
        findings.remember(self.path, name, findings.Findings(self.state_sha256, values, arrays or {}))
