"""Whether an experiment suits its data: refused where it cannot be, warned of where it would not pay."""

import numpy as np

from aeflax.config import KL, Data, Experiment, GaussianLikelihood, GaussianPosterior
from aeflax.config.validation import unit_range_faults
from aeflax.data.dataset import Dataset, called
from aeflax.data.doubts import doubts
from aeflax.data.rows import evenly
from aeflax.errors import ConfigError, warn
from aeflax.program import Program

SPREAD = 1e3  # of a feature's variance over the median one
DOMINANT, SEVERAL = 0.9, 3  # its share of the whole, among as many features that vary
EXAMPLES = 1_000  # of the training split, by which its variance is estimated


def require_range(resolved: Experiment, dataset: Dataset) -> None:
    """Raises ConfigError where the experiment needs data in [0, 1] that are not."""
    if dataset.unit_range:
        return
    low, high = dataset.span
    why, table = f"{dataset.source} spans [{low:.4g}, {high:.4g}]", len(dataset.shape) == 1
    if faults := unit_range_faults(resolved, why, table=table):
        raise ConfigError("; ".join(faults))


def warn_of_misfit(program: Program, dataset: Dataset) -> None:
    """Warns of batches that are mostly padding, of a posterior that may collapse, of doubtful features of a table."""
    batch, examples = program.experiment.data.batch_size, len(dataset.train)
    if batch >= max(2 * examples, 2 * Data.batch_size):  # of few examples in a batch of the usual size it is no matter
        those = f"the {examples:,} training {called(dataset.shape)}"
        said = f"data.batch_size={batch} is {batch / examples:,.0f} times {those}"
        warn(f"{said}: the rest of every step is padding; lower it")
    _warn_of_collapse(program, dataset)
    if len(dataset.shape) == 1:
        _warn_of_scales(program, dataset)
        _warn_of_doubts(program, dataset)


def _warn_of_scales(program: Program, dataset: Dataset) -> None:
    """The error of features that are in units of their own is that of the largest ones."""
    likelihood = program.experiment.model.likelihood
    if dataset.scaling.fitted or dataset.unit_range or not isinstance(likelihood, GaussianLikelihood):
        return
    variances = _variances(dataset)
    vary = variances[variances > 0]
    if not len(vary):
        return
    spread, share = float(vary.max() / np.median(vary)), float(vary.max() / vary.sum())
    if spread > SPREAD or (len(vary) >= SEVERAL and share > DOMINANT):
        largest = int(variances.argmax())
        name = dataset.columns[largest] if dataset.columns else f"feature {largest}"
        said = f"the variance of {name} is {spread:.1g} times the median over all features, {share:.0%} of the whole"
        mend = "it outweighs them in every error; bring all to one scale, --data.scale standard"
        warn(f"{said}: {mend}")


def _warn_of_doubts(program: Program, dataset: Dataset) -> None:
    """Warns of what is likely to be a mistake in a table."""
    if "doubts" not in dataset.computed:
        drop = program.experiment.data.drop
        dataset.computed["doubts"] = doubts(dataset.train.values, dataset.columns or (), drop)
    for said in dataset.computed["doubts"]:
        warn(said)


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
        warn(
            f"at model.likelihood.scale={like.scale:g} a code saves {worth:.1f} nats of reconstruction at most, less "
            f"than one for each of its {units} dimensions, so that the posterior may collapse; learn the scale "
            "(--model.likelihood.scale None), or lower it, model.penalties.kl.beta or model.latent_dim"
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
