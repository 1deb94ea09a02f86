"""Whether an experiment suits its data: refused where it cannot be, warned of where it would not pay."""

import warnings

import numpy as np

from aeflax.config import KL, Experiment, GaussianLikelihood, GaussianPosterior
from aeflax.data.dataset import Dataset
from aeflax.data.rows import evenly
from aeflax.errors import AeflaxWarning, ConfigError
from aeflax.program import Program
from aeflax.validation import unit_range_faults

EXAMPLES = 1_000  # of the training split, by which its variance is estimated


def require_range(resolved: Experiment, dataset: Dataset) -> None:
    """Raises ConfigError where the experiment needs data in [0, 1] that are not."""
    if dataset.unit_range:
        return
    low, high = dataset.span
    if faults := unit_range_faults(resolved, f"{dataset.source} spans [{low:.4g}, {high:.4g}]"):
        raise ConfigError("; ".join(faults))


def warn_of_collapse(program: Program, dataset: Dataset) -> None:
    """Warns where using every dimension of a posterior would cost more than a code can save.

    Without a code the best output is the mean of the data, whose reconstruction costs ½ Σ variance / scale² nats more
    than a perfect one. A dimension that tells something costs a nat or more, times beta.
    """
    model = program.experiment.model
    like, units = model.likelihood, model.latent_dim
    if not isinstance(model.bottleneck, GaussianPosterior) or not isinstance(like, GaussianLikelihood):
        return
    if like.scale is None or units is None:
        return
    if "variance" not in dataset.computed:
        dataset.computed["variance"] = _variance(dataset)
    worth = 0.5 * dataset.computed["variance"] / like.scale**2
    beta = (model.penalties.kl or KL(beta=0.0)).beta
    if worth < beta * units:
        warnings.warn(
            f"at model.likelihood.scale={like.scale:g} a code saves {worth:.1f} nats of reconstruction at most, less "
            f"than one for each of its {units} dimensions, so that the posterior may collapse; learn the scale "
            "(--model.likelihood.scale None), or lower it, model.penalties.kl.beta or model.latent_dim",
            AeflaxWarning,
            stacklevel=2,
        )


def _variance(dataset: Dataset) -> float:
    """Sum over the features of their variance in the model's range, of evenly spaced training examples."""
    values = dataset.train.values
    sample = np.asarray(values[evenly(len(values), min(EXAMPLES, len(values)))])
    rows = dataset.scaling.apply(sample.reshape(len(sample), -1)).astype(np.float64)
    return float(np.sum(rows.var(axis=0)))
