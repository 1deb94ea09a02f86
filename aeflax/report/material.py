"""What a report shows: arrays and plain values of one run, gathered before anything is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aeflax.applications.findings import Findings


@dataclass(frozen=True)
class Material:
    """One run, ready to be drawn. Examples and reconstructions are in the model's range, as float32.

    Attributes:
      name: of the run, e.g. "vae-mnist-1".
      experiment: the resolved configuration, as nested plain values.
      summary: the content of summary.json; of another checkpoint, what is known of it by the same names.
      history: the records of metrics.jsonl, in order.
      versions: of Python and the packages that decide the result.
      data: what it was trained on: shape, dtype and digest of each split, and first weights taken from another run.
      command: shell words that train the run again, or a sentence why no command can.
      examples: some of the test split, evenly spaced, [N, H, W, C] or [N, D].
      labels: of the examples, [N], None where there are none.
      inputs: what the encoder saw, corrupted where the model has a corruption, else the examples themselves.
      reconstructions: from `inputs`.
      codes: of the clean examples, [N, K]; a posterior's mean.
      samples: decoded from the prior, [S, ...]; None without a posterior.
      grid: decoded over even steps in two dimensions of the code, [R, R, ...]; None without a posterior.
      grid_dimensions: those two, the ones with the largest KL; the first runs across, the second up.
      grid_sigmas: the R steps, in standard deviations of the prior.
      dictionary: what each unit of a sparse code adds to the decoder's output, [U, ...]; None otherwise.
      usage: share of the examples that activate each of those units, [U]; the dictionary is sorted by it.
      filters: kernels of the first convolution, [K, kernel, kernel, C]; None without one.
      unit_range: whether the data lies in [0, 1].
      findings: what applications found about this state, by name.
      columns: names of the features; None where they have none.
    """

    name: str
    experiment: Mapping[str, Any]
    summary: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    versions: Mapping[str, str]
    data: Mapping[str, Any]
    command: str
    examples: np.ndarray
    labels: np.ndarray | None
    inputs: np.ndarray
    reconstructions: np.ndarray
    codes: np.ndarray
    samples: np.ndarray | None
    grid: np.ndarray | None
    grid_dimensions: tuple[int, int] | None
    grid_sigmas: np.ndarray | None
    dictionary: np.ndarray | None
    usage: np.ndarray | None
    filters: np.ndarray | None
    unit_range: bool
    findings: Mapping[str, Findings] = field(default_factory=dict)
    columns: Sequence[str] | None = None
