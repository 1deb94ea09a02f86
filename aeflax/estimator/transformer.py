"""The autoencoder as a transformer: X -> codes, and back."""

from typing import Any, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from aeflax.errors import DataError
from aeflax.estimator.base import FLOATS, Autoencoder


class AutoencoderTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Autoencoder):  # type: ignore[misc]
    """Codes of an autoencoder, learned without labels.

    Args:
      variant: vanilla, sparse, denoising, vae or conv. To `conv`, X is a signal of F places, unless `image_shape` is
        given.
      latent_dim: units of the code; None: F // 4, at most 64 (sparse: 4 F, at most 256).
      widths: units of the hidden layers before the code, which the decoder mirrors; of `conv` the channels of its
        strided layers. None: none, of `conv` (32, 64).
      activation: of the hidden layers: relu, elu, gelu, silu, tanh, sigmoid or linear.
      code_activation: of the code, from the same choice (`vae` has none); None: linear behind hidden layers, and with
        scale="standard", where codes must be able to be negative, else relu. Without hidden layers linear codes span
        what principal components do.
      sparsity: of `sparse`, weight of the code's L1 norm, nats for each unit of activation.
      corruption: of `denoising`: gaussian, masking or salt-pepper.
      noise: of `denoising`: standard deviation in scaled units, or the probability to hit a feature; None: .4, .5, .2.
      beta: of `vae`, weight of KL(posterior ‖ prior).
      likelihood: gaussian, or bernoulli for values in [0, 1].
      scale: standard: mean 0, variance 1; unit: to [0, 1]; none. Fitted to each feature; where `image_shape` is given,
        to each channel (standard) or to all values (unit).
      image_shape: (height, width) or (height, width, channels) of one example; None: a vector.
      epochs: passes over X; None: 20, but at least 4,000 steps.
      batch_size: examples a step.
      learning_rate: of Adam.
      random_state: seed of weights, noise and order, below 2^32; a RandomState, or None for NumPy's, draws one. Equal
        seeds give equal fits, to the bit.
      verbose: 1 tells of the loss on standard output.

    Attributes:
      experiment_: the resolved configuration, its seed included.
      state_: the training state, its leaves NumPy arrays.
      shift_, divisor_: of the scaling (X - shift_) / divisor_, [1] or [F] float64.
      n_passes_: passes over data so far, the last one perhaps not whole.
      n_features_in_, feature_names_in_: as scikit-learn defines them.

    Example:
      >>> from sklearn.cluster import HDBSCAN
      >>> from sklearn.datasets import load_digits
      >>> from sklearn.metrics import adjusted_rand_score
      >>> from aeflax.estimator import AutoencoderTransformer
      >>> X, y = load_digits(return_X_y=True)
      >>> model = AutoencoderTransformer(latent_dim=3, widths=(256, 128), scale="unit", random_state=0)
      >>> clusters = HDBSCAN(min_cluster_size=10, copy=True).fit_predict(model.fit_transform(X))
      >>> found = clusters >= 0  # -1 is noise
      >>> bool(adjusted_rand_score(y[found], clusters[found]) > 0.8), bool(found.mean() > 0.5)
      (True, True)
    """

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """One pass over X from where training stands.

        The first one fits the scaling, which stays then, as the arguments do until `fit` is called.
        As many passes over the same X as `fit` has epochs give the same weights, to the bit.

        Args:
          X: examples [N, F].
          y: ignored.

        Raises:
          ValueError: as `fit`.
          DivergedError: as `fit`; the estimator stays as it was.
        """
        begun = hasattr(self, "state_")
        values = validate_data(self, X, dtype=FLOATS, reset=False) if begun else self._begin(X)
        state, first_pass = (self.state_, self.n_passes_) if begun else (None, 0)
        self._train(values, state, first_pass=first_pass, steps=self.experiment_.data.steps_per_epoch(len(values)))
        return self

    def transform(self, X: Any) -> np.ndarray:
        """X [N, F] -> codes [N, latent_dim] of X's dtype, float32 or float64; the mean of a posterior.

        Raises:
          NotFittedError: before `fit`.
          ValueError: for an X unlike the one that was fitted.
        """
        rows, dtype = self._checked(X)
        return np.concatenate(list(self._model().encode([rows]))).astype(dtype)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Codes [N, latent_dim] -> expected examples [N, F] in the units of X, of the codes' dtype.

        Raises:
          NotFittedError: before `fit`.
          ValueError: for codes of another size.
        """
        check_is_fitted(self, "state_")
        codes = check_array(X, dtype=FLOATS)
        if codes.shape[1] != self._n_features_out:
            raise DataError(f"X has {codes.shape[1]} features, but the codes have {self._n_features_out}")
        rows = self._model().decode(codes).reshape(len(codes), -1)
        found: np.ndarray = (rows * self.divisor_ + self.shift_).astype(codes.dtype)
        return found

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the mean squared error per feature of the reconstructions, in scaled units; higher is better.

        0 is perfect. With `scale="standard"` the mean of the training data would score -1, so that 1 + score is about
        the share of variance explained. It compares all variants with each other, which their losses do not.

        Args:
          X: examples [N, F].
          y: ignored.
        """
        return -float(np.mean(self._errors(X)))

    @property
    def _n_features_out(self) -> int:
        return self.experiment_.model.latent_dim or 0

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
