"""The nearest training examples of samples, and whether there are so many so near that the model memorises.

A distance is the squared error per feature, in the model's range.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from aeflax.applications.inference import Inference
from aeflax.applications.spaces import values
from aeflax.applications.threshold import Flagged
from aeflax.data.sources import Examples

NEAR, FAR = 0.01, 0.99  # quantiles of test examples' distances, below and beyond which a sample counts as near or far
BINS = 40


@dataclass(frozen=True)
class Nearest:
    """Of each of Q queries the nearest example: its index [Q], the first of equals, and its distance [Q] float64."""

    index: np.ndarray
    distance: np.ndarray

    def __getitem__(self, queries: slice) -> "Nearest":
        """Those of some of the queries."""
        return Nearest(self.index[queries], self.distance[queries])


def nearest(inference: Inference, images: np.ndarray, examples: Examples) -> Nearest:
    """The nearest of all the examples to each of the images [Q, ...], which are in the model's range.

    Exact up to the rounding of float32; the examples pass by in batches, so memory does not depend on their number.
    """
    from sklearn.metrics import pairwise_distances_argmin_min

    rows = images.reshape(len(images), -1)
    index, least = np.zeros(len(rows), np.int64), np.full(len(rows), np.inf)
    first = 0
    for batch in values(inference, examples):
        others = inference.scaled(batch).reshape(len(batch), -1)
        place, distance = pairwise_distances_argmin_min(rows, others)
        nearer = distance < least
        index[nearer], least[nearer] = place[nearer] + first, distance[nearer]
        first += len(batch)
    return Nearest(index, least.astype(np.float64) ** 2 / rows.shape[1])


def memorisation(train: Nearest, test: Nearest, held_out: Nearest, counts: tuple[int, int]) -> dict[str, Any]:
    """Whether samples are nearer to training examples than they should be, by two tests that must agree.

    Test examples give the distance at which examples lie that nobody copied: `near` is their first percentile. Samples
    that are nearer than it more often are copies, or only smooth: a decoder gives expected values, which lack the
    detail that sets two examples apart. Smoothness brings a sample nearer to every example, to those that the model
    never saw, too. So of the examples that are the nearest of some sample, among all of training and test, more must
    also be training examples than these are of all: where a model favours neither split, each of the nearest belongs
    to training with that chance. Each counts once, as many samples can share one. (Meehan et al. 2020 compare the same
    distances; Xu et al. 2018 ask whose example is the nearest.)

    Args:
      train: nearest training examples of samples [S].
      test: nearest test examples of the same samples [S].
      held_out: nearest training examples of test examples [T].
      counts: of the training examples and of the test examples that were searched.

    Returns:
      As JSON holds it; shares with their 95 % intervals (Wilson 1927). `memorises` where both intervals of the samples
      lie above: of `below`, over the interval of the test examples, and of `own`, over `expected`. `tellable`: whether
      the second could, were all of so few nearest examples training examples.
    """
    groups = {"samples": train.distance, "test": held_out.distance}
    near, far = (float(np.quantile(groups["test"], level)) for level in (NEAR, FAR))
    below = {name: Flagged.of(distance < near) for name, distance in groups.items()}
    nearest_of_both = np.where(train.distance < test.distance, train.index, -1 - test.index)  # test ones are negative
    own = Flagged.of(np.unique(nearest_of_both) >= 0)
    expected = counts[0] / sum(counts)
    nearer = below["samples"].low > below["test"].high
    favours = own.low > expected
    highest = max(float(np.quantile(distance, 0.98)) for distance in groups.values())
    edges = np.linspace(0.0, highest or 1.0, BINS + 1)
    return {
        "training_examples": counts[0],
        "test_examples": counts[1],
        "near": near,
        "far": far,
        "median": {name: float(np.median(group)) for name, group in groups.items()},
        "below": {name: vars(flagged) for name, flagged in below.items()},
        "beyond": vars(Flagged.of(groups["samples"] > far)),
        "own": vars(own),
        "expected": expected,
        "nearer": nearer,
        "favours": favours,
        "tellable": Flagged.of(np.ones(own.examples, bool)).low > expected,
        "memorises": nearer and favours,
        "histogram": {
            "edges": edges.tolist(),
            "shares": {
                name: (np.histogram(np.minimum(group, edges[-1]), edges)[0] / len(group)).tolist()
                for name, group in groups.items()
            },
        },
    }
