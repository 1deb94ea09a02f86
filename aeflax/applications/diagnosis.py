"""The panel that fits a model: its posterior's, or its sparse code's."""

from typing import Any

import numpy as np

from aeflax.applications import posterior, sparsity
from aeflax.applications.inference import Inference
from aeflax.data.dataset import Dataset
from aeflax.errors import ConfigError


def judge(
    inference: Inference, dataset: Dataset, split: str = "test", *, samples: int = 64
) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """The panel's name, under which it is kept, its values and its arrays.

    Args:
      inference: the model.
      dataset: the run's data.
      split: train, validation or test.
      samples: draws of each posterior for the bounds of the likelihood; nothing to a sparse code.

    Returns:
      As `posterior.judge` or `sparsity.judge` has them, after `posterior` or `sparsity`.

    Raises:
      ConfigError: where the code has neither a posterior nor sparse units, and as those two.
      DataError: as those two.
    """
    if inference.has_prior:
        return "posterior", *posterior.judge(inference, dataset, split, samples=samples)
    if inference.program.built.model.bottleneck.sparse:
        return "sparsity", *sparsity.judge(inference, dataset, split)
    raise ConfigError(
        "there is nothing to diagnose: this model's code has neither a posterior nor sparse units; `aeflax codes` and "
        "`aeflax trust` judge it"
    )
