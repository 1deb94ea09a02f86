"""The autoencoder as an outlier detector: odd is what it cannot reconstruct."""

import numbers
from typing import Any, Self

import numpy as np
from sklearn.base import OutlierMixin

from aeflax.errors import ConfigError
from aeflax.estimator.base import Autoencoder


class AutoencoderOutlierDetector(OutlierMixin, Autoencoder):  # type: ignore[misc]
    """Outliers by the reconstruction error of an autoencoder.

    Args:
      contamination: share of the training examples that are to be called outliers, in (0, .5].

    Other arguments are those of `AutoencoderTransformer`.

    Attributes:
      offset_: score below which an example is an outlier: the quantile `contamination` of the training scores.

    Other attributes are those of `AutoencoderTransformer`.

    Example:
      >>> from sklearn.datasets import load_breast_cancer
      >>> from aeflax.estimator import AutoencoderOutlierDetector
      >>> X, y = load_breast_cancer(return_X_y=True)
      >>> detector = AutoencoderOutlierDetector(contamination=0.05, random_state=0).fit(X[y == 1])
      >>> odd = detector.predict(X) == -1
      >>> bool(odd[y == 0].mean() > 0.5), bool(odd[y == 1].mean() < 0.06)
      (True, True)
    """

    def __init__(
        self,
        variant: str = "vanilla",
        *,
        contamination: float = 0.05,  # as `aeflax detect` has it
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
        super().__init__(
            variant,
            latent_dim=latent_dim,
            widths=widths,
            activation=activation,
            code_activation=code_activation,
            sparsity=sparsity,
            corruption=corruption,
            noise=noise,
            beta=beta,
            likelihood=likelihood,
            scale=scale,
            image_shape=image_shape,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            random_state=random_state,
            verbose=verbose,
        )
        self.contamination = contamination

    def fit(self, X: Any, y: Any = None) -> Self:
        """Trains on X [N, F] and sets the threshold; `y` is ignored, errors as `AutoencoderTransformer.fit`."""
        share = self.contamination
        if not isinstance(share, numbers.Real) or isinstance(share, bool) or not 0 < share <= 0.5:
            raise ConfigError(f"contamination={share!r} lies outside (0, 0.5]")
        super().fit(X)
        self.offset_: float = float(np.percentile(self.score_samples(X), 100.0 * float(share)))
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """X [N, F] -> minus the squared error per feature of each reconstruction [N] float64; lower is odder.

        In scaled units. scikit-learn's sign: the opposite of `Run.score`, of which higher is odder.

        Raises:
          NotFittedError: before `fit`.
          ValueError: for an X unlike the one that was fitted.
        """
        return -self._errors(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """X [N, F] -> `score_samples` - `offset_` [N] float64; below 0 for outliers. Errors as `score_samples`."""
        found: np.ndarray = self.score_samples(X) - self.offset_
        return found

    def predict(self, X: Any) -> np.ndarray:
        """X [N, F] -> -1 for outliers, else 1, [N] int64. Errors as `score_samples`."""
        return np.where(self.decision_function(X) < 0, -1, 1)
