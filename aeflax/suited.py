"""Whether an experiment suits its data: refused where it cannot be, warned of where it would not pay."""

import shlex
import warnings

import numpy as np

from aeflax.config import KL, Experiment, GaussianLikelihood, GaussianPosterior
from aeflax.data.dataset import Dataset
from aeflax.data.rows import evenly
from aeflax.errors import AeflaxWarning, ConfigError
from aeflax.program import Program
from aeflax.validation import unit_range_faults

SPREAD = 1e3  # of a feature's variance over the median one
COUNTED = 20  # rows from which on it is no chance that whole numbers rise
EXAMPLES = 1_000  # of the training split, by which its variance is estimated


def require_range(resolved: Experiment, dataset: Dataset) -> None:
    """Raises ConfigError where the experiment needs data in [0, 1] that are not."""
    if dataset.unit_range:
        return
    low, high = dataset.span
    if faults := unit_range_faults(resolved, f"{dataset.source} spans [{low:.4g}, {high:.4g}]"):
        raise ConfigError("; ".join(faults))


def warn_of_misfit(program: Program, dataset: Dataset) -> None:
    """Warns of a posterior that is likely to collapse, and of features of a table that will not serve."""
    _warn_of_collapse(program, dataset)
    if len(dataset.shape) == 1:
        _warn_of_scales(program, dataset)
        _warn_of_counters(dataset)


def _warn_of_scales(program: Program, dataset: Dataset) -> None:
    """The error of features that are in units of their own is that of the largest ones."""
    likelihood = program.experiment.model.likelihood
    if dataset.scaling.fitted or dataset.unit_range or not isinstance(likelihood, GaussianLikelihood):
        return
    variances = _variances(dataset)
    vary = variances[variances > 0]
    if len(vary) and (spread := float(vary.max() / np.median(vary))) > SPREAD:
        largest = int(variances.argmax())
        name = dataset.columns[largest] if dataset.columns else f"feature {largest}"
        said = f"the variance of {name} is {spread:.1g} times the median of all features'"
        mend = "it outweighs them in every error; bring all to one scale, --data.scale standard"
        warnings.warn(f"{said}: {mend}", AeflaxWarning, stacklevel=2)


def _warn_of_counters(dataset: Dataset) -> None:
    """Columns of a table that number its rows are learned as features, and new rows have other numbers."""
    if "counters" not in dataset.computed:
        dataset.computed["counters"] = _counters(dataset)
    for name in dataset.computed["counters"]:
        said = f"the column {name!r} rises from row to row, as an id or a time does, and is learned as a feature"
        warnings.warn(f"{said}; leave it out, --data.drop {shlex.quote(name)}", AeflaxWarning, stacklevel=2)


def _counters(dataset: Dataset) -> list[str]:
    """Columns of whole numbers that rise from one training row to the next."""
    values = dataset.train.values
    if not dataset.columns or not isinstance(values, np.ndarray) or len(values) < COUNTED:
        return []
    named = zip(dataset.columns, values.reshape(len(values), -1).T, strict=True)
    return [name for name, rows in named if np.all(rows[1:] > rows[:-1]) and np.array_equal(rows, np.rint(rows))]


def _warn_of_collapse(program: Program, dataset: Dataset) -> None:
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
    worth = 0.5 * float(_variances(dataset).sum()) / like.scale**2
    beta = (model.penalties.kl or KL(beta=0.0)).beta
    if worth < beta * units:
        warnings.warn(
            f"at model.likelihood.scale={like.scale:g} a code saves {worth:.1f} nats of reconstruction at most, less "
            f"than one for each of its {units} dimensions, so that the posterior may collapse; learn the scale "
            "(--model.likelihood.scale None), or lower it, model.penalties.kl.beta or model.latent_dim",
            AeflaxWarning,
            stacklevel=2,
        )


def _variances(dataset: Dataset) -> np.ndarray:
    """Variance of each feature in the model's range, [F] float64, of evenly spaced training examples."""
    if "variances" not in dataset.computed:
        values = dataset.train.values
        sample = np.asarray(values[evenly(len(values), min(EXAMPLES, len(values)))])
        rows = dataset.scaling.apply(sample.reshape(len(sample), -1)).astype(np.float64)
        dataset.computed["variances"] = np.nanvar(rows, axis=0)
    found: np.ndarray = dataset.computed["variances"]
    return found
