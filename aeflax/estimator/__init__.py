"""Autoencoders as scikit-learn estimators, for pipelines, grid searches and data frames.

from aeflax.estimator import AutoencoderOutlierDetector, AutoencoderTransformer
codes = AutoencoderTransformer(variant="vae", latent_dim=8).fit_transform(X)
"""

from aeflax.estimator.detector import AutoencoderOutlierDetector
from aeflax.estimator.transformer import AutoencoderTransformer

__all__ = ["AutoencoderOutlierDetector", "AutoencoderTransformer"]
