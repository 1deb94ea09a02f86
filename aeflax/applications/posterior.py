"""What a posterior is worth: which dimensions it uses, how much it tells of an example, how near it is to the prior.

| name | meaning |
|---|---|
| `kl` | KL(q(z | x) || p(z)), nats, mean over examples |
| `active` | dimensions whose posterior mean varies over examples by more than .01 (Burda et al. 2016) |
| `mutual_information` | of example and code, nats: a lower bound of it, and an upper one |
| `aggregated_kl` | KL(q(z) || p(z)) of the mean of all posteriors, nats: an upper bound of it, and a lower one |
| `elbo` | evidence lower bound with beta 1, nats, the reconstruction averaged over `samples` draws |
| `log_likelihood` | the tighter importance-weighted bound of log p(x) from as many draws, nats (Burda et al. 2016) |

A number that was estimated is {"mean", "standard_error"}, over examples. A likelihood is of the values in the model's
range, binarized where the run binarizes them.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from aeflax.applications.inference import Inference
from aeflax.applications.spaces import thinning
from aeflax.config import GaussianLikelihood
from aeflax.data.dataset import Dataset
from aeflax.data.rows import MAX_VALUES
from aeflax.errors import ConfigError, DataError
from aeflax.evaluation.batches import targets

MAX_EXAMPLES = 10_000  # whose posteriors are compared, each with each; more are thinned to every n-th
ACTIVE = 0.01  # variance of a mean over examples (Burda et al. 2016, who found a gap between 1e-4 and it)
# Ours. The KL is the most that a code can tell: a seventh of a bit tells nothing that a decoder can use.
SILENT = 0.1  # nats
MOST = 0.5  # share of the dimensions: fewer active ones are worth a word, though a wide code is often pruned so
SATURATED = math.log(2.0)  # nats below log N: half of what is found at a draw is its own example's
_BLOCK = 2**22  # densities that are held at once, 32 MiB

Collapse = Literal["none", "most", "all"]


def judge(
    inference: Inference, dataset: Dataset, split: str = "test", *, samples: int = 64
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Judges the posteriors of a split.

    Args:
      inference: the model.
      dataset: the run's data.
      split: train, validation or test; of a large one every n-th example.
      samples: draws of each posterior for the bounds of the likelihood; time, not memory, grows with them.

    Returns:
      Values: the table of the module, `units`, `limit`, the log N that no estimate of the mutual information exceeds,
      and `saturated` where it is near; `collapse`: `all` where no dimension is active or the KL is below .1 nats,
      `most` where under half of them are active, else `none`; the `thresholds` of that; and what the run was trained
      with, `beta`, `warmup_steps`, `free_bits` and `scale` of a Gaussian likelihood, None where it had none. Arrays,
      one entry a dimension [K]: `kl`, `mean_variance` (of the mean, over examples), and `mean` and `deviation` of the
      aggregated posterior.

    Raises:
      ConfigError: where the code has no posterior, for a split that there is not, or for no samples.
      DataError: for a single example, or where the model has diverged.
    """
    if samples < 1:
        raise ConfigError(f"samples {samples} is too few; draw at least one")
    program = inference.program
    size = inference.code_size
    examples = dataset.split(split)
    if len(examples) < 2:
        raise DataError(f"the split {split} has a single example, and no error can be told; take another split")
    every = thinning(len(examples), max(2, min(MAX_EXAMPLES, MAX_VALUES // size)))
    parts = zip(*inference.scaled_posteriors(targets(program, dataset, split, every)), strict=True)
    mean, log_var, kl = (np.concatenate(part).astype(np.float64) for part in parts)
    if not all(np.isfinite(part).all() for part in (mean, log_var, kl)):
        raise DataError(f"the codes of the {split} split are not all finite; the model has diverged, take another step")
    bounds = zip(*inference.scaled_bounds(targets(program, dataset, split, every), samples), strict=True)
    elbo, weighed = (-np.concatenate(part).astype(np.float64) for part in bounds)
    varied = mean.var(axis=0)
    active = int(np.sum(varied > ACTIVE))
    found = densities(mean, log_var, np.random.default_rng(program.experiment.train.seed))
    values = {
        "split": split,
        "examples": len(mean),
        "samples": samples,
        "units": mean.shape[1],
        "active": active,
        "kl": estimate(kl.sum(axis=1)),
        **information(found, float(kl.sum(axis=1).mean())),
        "elbo": estimate(elbo),
        "log_likelihood": estimate(weighed),
        "thresholds": {"active": ACTIVE, "silent": SILENT},
        "collapse": collapse(active, mean.shape[1], float(kl.sum(axis=1).mean())),
        **_trained_with(inference),
    }
    deviation = np.sqrt(varied + np.exp(log_var).mean(axis=0))
    return values, {
        "kl": kl.mean(axis=0),
        "mean_variance": varied,
        "mean": mean.mean(axis=0),
        "deviation": deviation,
    }


def collapse(active: int, units: int, kl: float) -> Collapse:
    """Whether all of a posterior has collapsed to the prior, or most dimensions of it; `kl` is its mean, nats."""
    if active == 0 or kl < SILENT:
        return "all"
    return "most" if active < MOST * units else "none"


@dataclass(frozen=True)
class Densities:
    """Log densities [N] at one draw of each of N posteriors, all without the same constant.

    Attributes:
      own: of the posterior that it was drawn from, q(z | x_i).
      others: of the mean of all posteriors but that one.
      whole: of the mean of all, the aggregated posterior q(z).
      prior: of the prior.
    """

    own: np.ndarray
    others: np.ndarray
    whole: np.ndarray
    prior: np.ndarray


def densities(mean: np.ndarray, log_var: np.ndarray, random: np.random.Generator) -> Densities:
    """One draw of each diagonal Gaussian, mean and log-variance [N, K] float64, under each of them; in blocks."""
    from scipy.special import logsumexp

    count = len(mean)
    noise = random.standard_normal(mean.shape)
    drawn = mean + np.exp(0.5 * log_var) * noise
    own = -0.5 * np.sum(noise**2 + log_var, axis=1)
    precision = np.exp(-log_var)
    # (z - m)² / v written out, so that the densities of all draws under all posteriors are two matrix products.
    square, linear, constant = precision.T, (mean * precision).T, np.sum(mean**2 * precision + log_var, axis=1)
    others = np.empty(count)
    rows = max(1, _BLOCK // count)
    for first in range(0, count, rows):
        block = drawn[first : first + rows]
        each = block @ linear - 0.5 * (block**2 @ square + constant)
        place = np.arange(len(block))
        each[place, first + place] = -np.inf
        others[first : first + rows] = logsumexp(each, axis=1)
    return Densities(
        own=own,
        others=others - math.log(count - 1),
        whole=np.logaddexp(others, own) - math.log(count),
        prior=-0.5 * np.sum(drawn**2, axis=1),
    )


def information(found: Densities, kl: float) -> dict[str, Any]:
    """Mutual information of example and code, and the aggregated posterior's divergence from the prior, nats.

    E[KL(q(z | x) || p)] = I(x; z) + KL(q(z) || p) (Hoffman & Johnson 2016). With one draw of each posterior and q(z)
    the mean of all of them, the mean of log q(z | x) - log q(z) is a lower bound of I in expectation that no draw takes
    above log N; without the draw's own posterior in q(z) it is an upper bound (Poole et al. 2019, "On variational
    bounds of mutual information"), as is the mean KL. What the one lacks the divergence has too much, and the reverse.

    Args:
      found: at the draws.
      kl: mean KL of the posteriors to the prior, nats.

    Returns:
      `mutual_information` and `aggregated_kl`, each with the other bound, and `limit` and `saturated`.
    """
    told, apart = estimate(found.own - found.whole), estimate(found.whole - found.prior)
    limit = math.log(len(found.own))
    upper = min(float(np.mean(found.own - found.others)), kl)
    lower = float(np.mean(found.others - found.prior))
    return {
        # Near 0 the noise of the draws may take a bound to the wrong side.
        "mutual_information": told | {"upper": max(upper, told["mean"], 0.0)},
        "aggregated_kl": apart | {"lower": max(min(lower, apart["mean"]), 0.0)},
        "limit": limit,
        "saturated": told["mean"] > limit - SATURATED,
    }


def estimate(values: np.ndarray) -> dict[str, float]:
    """The mean of values [N] and its standard error."""
    return {"mean": float(values.mean()), "standard_error": float(values.std(ddof=1) / math.sqrt(len(values)))}


def _trained_with(inference: Inference) -> dict[str, float | None]:
    model = inference.program.experiment.model
    names = ("beta", "warmup_steps", "free_bits")
    scale = model.likelihood.scale if isinstance(model.likelihood, GaussianLikelihood) else None
    return {name: getattr(model.penalties.kl, name, None) for name in names} | {"scale": scale}
