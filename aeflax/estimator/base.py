"""What both estimators are: arguments, scaling, training, and the fitted model as functions of X."""

import math
import numbers
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from aeflax.applications.inference import Inference
from aeflax.config import Bernoulli, Conv, Experiment
from aeflax.config.defaults import resolve
from aeflax.data.dataset import Domain, Scaling
from aeflax.data.survey import survey
from aeflax.errors import DataError
from aeflax.estimator import fitting, settings

FLOATS = (np.float64, np.float32)
SLACK = 1e-6  # by which rounding may carry scaled values out of [0, 1]


class Autoencoder(BaseEstimator):  # type: ignore[misc]
    """Base of the estimators; `AutoencoderTransformer` says what the arguments are.

    X is scaled here in float64 and handed to the model in float32, so that large offsets cost no precision.
    """

    def __init__(
        self,
        variant: str = "vanilla",
        *,
        latent_dim: int | None = None,
        widths: tuple[int, ...] | None = None,
        activation: str = "relu",
        code_activation: str | None = None,
        sparsity: float = 0.1,
        corruption: str = "gaussian",
        noise: float | None = None,
        beta: float = 1.0,
        likelihood: str = "gaussian",
        scale: str = "standard",
        image_shape: tuple[int, ...] | None = None,
        epochs: int | None = None,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.variant = variant
        self.latent_dim = latent_dim
        self.widths = widths
        self.activation = activation
        self.code_activation = code_activation
        self.sparsity = sparsity
        self.corruption = corruption
        self.noise = noise
        self.beta = beta
        self.likelihood = likelihood
        self.scale = scale
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fits the scaling and trains from the initial weights; `y` is ignored.

        Args:
          X: examples [N, F], an array or a data frame.
          y: ignored.

        Raises:
          ValueError: for arguments that cannot be and data that are not finite numbers [N, F].
          DivergedError: where training met losses or weights that are not finite.
        """
        values = self._begin(X)
        self._train(values, None, first_pass=0, steps=self.experiment_.train.steps or 0)
        return self

    def _begin(self, X: Any) -> np.ndarray:
        """Checks arguments and data, fits the scaling, sets what both decide; returns X [N, F].

        What was fitted before is gone then, also where the new fit fails.
        """
        self.__dict__.pop("state_", None)
        seed = _seed(self.random_state)
        experiment = settings.experiment(self.get_params(deep=False), seed)
        values: np.ndarray = validate_data(self, X, dtype=FLOATS)
        shape = settings.example_shape(self.image_shape, values.shape[1])
        self.shift_, self.divisor_ = _scaling(self.scale, values, shape)
        if isinstance(experiment.model.backbone, Conv) and len(shape) == 1:
            shape = (1, *shape, 1)  # a signal
        self.experiment_: Experiment = resolve(experiment, shape, len(values))
        self.example_shape_ = shape
        return values

    def _train(self, values: np.ndarray, state: Any, *, first_pass: int, steps: int) -> None:
        """Takes steps over X [N, F] and keeps the state."""
        rows = self._scaled(values)
        run = fitting.program(self.experiment_, self.example_shape_)
        verbose = bool(self.verbose)
        self.state_ = fitting.advance(run, state, rows, first_pass=first_pass, steps=steps, verbose=verbose)
        self.n_passes_ = first_pass + -(-steps // self.experiment_.data.steps_per_epoch(len(rows)))

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        """X [N, F] in the model's range, float32.

        Raises:
          DataError: where a value cannot be held, or must lie in [0, 1] and does not.
        """
        with np.errstate(over="ignore"):
            rows: np.ndarray = ((values - self.shift_) / self.divisor_).astype(np.float32)
        if not np.isfinite(rows).all():
            raise DataError(
                "X holds values that are beyond float32 once they are scaled; remove them, or fit again with them"
            )
        bounded = isinstance(self.experiment_.model.likelihood, Bernoulli) and self.scale == "none"
        if bounded and (rows.min() < -SLACK or rows.max() > 1 + SLACK):
            raise DataError(
                f"likelihood='bernoulli' needs X in [0, 1], but it spans [{rows.min():g}, {rows.max():g}]; "
                "use scale='unit' or likelihood='gaussian'"
            )
        return rows

    def _checked(self, X: Any) -> tuple[np.ndarray, np.dtype[Any]]:
        """X [N, F] of a fitted estimator in the model's range, and the dtype that it came in."""
        check_is_fitted(self, "state_")
        values: np.ndarray = validate_data(self, X, dtype=FLOATS, reset=False)
        return self._scaled(values), values.dtype

    def _model(self) -> Inference:
        identity = Scaling(np.zeros(1, np.float32), np.ones(1, np.float32), fitted=True)
        domain = Domain(np.dtype(np.float32), identity, unit_range=False)
        return fitting.inference(fitting.program(self.experiment_, self.example_shape_), self.state_, domain)

    def _errors(self, X: Any) -> np.ndarray:
        """Squared error per feature of each reconstruction [N] float64, in scaled units."""
        rows, _ = self._checked(X)
        return np.concatenate(list(self._model().score([rows]))).astype(np.float64)


def _seed(random_state: Any) -> int:
    """The seed of a run: an integer as it is, else drawn."""
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _scaling(scale: str, values: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(shift, divisor), each [1] or [F] float64: of each feature, of images of each channel (unit: of all values)."""
    if scale == "none":
        return np.zeros(1), np.ones(1)
    found = survey(values.reshape(-1, *shape), "X", moments=scale == "standard")
    vectors = len(shape) == 1
    if found.mean is not None and found.deviation is not None:
        repeat = 1 if vectors else math.prod(shape[:2])
        shift, divisor = np.tile(found.mean, repeat), np.tile(found.deviation, repeat)
    else:
        low, high = (found.low, found.high) if vectors else (found.low.min(), found.high.max())
        shift = np.atleast_1d(low).astype(np.float64)
        divisor = np.atleast_1d(high).astype(np.float64) - shift
    # A constant feature maps to 0; its computed deviation may be a rounding error above it.
    return shift, np.where(divisor > 10 * np.finfo(values.dtype).eps * np.abs(shift), divisor, 1.0)
