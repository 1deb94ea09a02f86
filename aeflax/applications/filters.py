"""Filters of scikit-image that take noise away, to be held against.

| name | strength |
|---|---|
| `median` | side of the window, pixels |
| `gaussian` | standard deviation of the kernel, pixels |
| `total_variation` | weight of the total variation (Chambolle 2004) |
| `non_local_means` | standard deviation σ of the noise that is assumed, h = 0.8 σ (Buades et al. 2005) |

Images are [N, H, W, C], of any size and number of channels. The first three treat each channel alone; the last compares
patches over all of them. What a filter gives is clipped to [0, 1].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from aeflax.errors import ConfigError
from aeflax.evaluation.quality import psnr

_PATCH, _REACH = 5, 6  # pixels: side of a patch, and how far around it others are looked for (scikit-image's example)
_H = 0.8  # of the σ that is assumed, as scikit-image advises for its fast mode


@dataclass(frozen=True)
class Filter:
    """One filter.

    Attributes:
      apply: (images [N, H, W, C], strength) -> images of the same shape.
      strengths: among which the best one is looked for.
    """

    apply: Callable[[np.ndarray, float], np.ndarray]
    strengths: tuple[float, ...]

    def __call__(self, images: np.ndarray, strength: float) -> np.ndarray:
        """Images [N, H, W, C] -> what the filter makes of them, in [0, 1], float32."""
        filtered = self.apply(images, strength).reshape(images.shape)  # some drop an axis of length 1
        clipped: np.ndarray = np.clip(filtered, 0.0, 1.0).astype(np.float32)
        return clipped

    def tuned(self, noisy: np.ndarray, clean: np.ndarray) -> float:
        """The strength that restores noisy images [N, H, W, C] with the best mean PSNR."""
        return max(self.strengths, key=lambda strength: float(psnr(self(noisy, strength), clean).mean()))


def require_images(shape: tuple[int, ...], *, unit_range: bool) -> None:
    """Raises ConfigError for examples of a shape, (H, W, C) or (D,), or of a range that filters are not made for."""
    if len(shape) != 3:
        raise ConfigError(
            f"filters are for images, and this run's examples are vectors of {shape[0]} values; "
            "compare with clean examples instead (aeflax denoise --clean)"
        )
    if not unit_range:
        raise ConfigError(
            "noise levels are told in the range [0, 1], and this run's data lie outside of it; "
            "train with --data.scale unit, or compare with clean examples (aeflax denoise --clean)"
        )


def _median(images: np.ndarray, side: float) -> np.ndarray:
    from skimage.filters import median

    filtered: np.ndarray = median(images, np.ones((1, int(side), int(side), 1), bool))
    return filtered


def _gaussian(images: np.ndarray, sigma: float) -> np.ndarray:
    from skimage.filters import gaussian

    filtered: np.ndarray = gaussian(images, (0, sigma, sigma, 0), preserve_range=True)
    return filtered


def _total_variation(images: np.ndarray, weight: float) -> np.ndarray:
    from skimage.restoration import denoise_tv_chambolle

    return np.stack([denoise_tv_chambolle(image, weight, channel_axis=-1) for image in images])


def _non_local_means(images: np.ndarray, sigma: float) -> np.ndarray:
    from skimage.restoration import denoise_nl_means

    settings = {"patch_size": _PATCH, "patch_distance": _REACH, "h": _H * sigma, "sigma": sigma}
    return np.stack([denoise_nl_means(image, preserve_range=True, channel_axis=-1, **settings) for image in images])


# From nearly nothing to more than suits the strongest noise that is judged (training images of MNIST, Fashion-MNIST).
FILTERS: Mapping[str, Filter] = {
    "median": Filter(_median, (3, 5, 7, 9, 11)),
    "gaussian": Filter(_gaussian, (0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0)),
    "total_variation": Filter(_total_variation, (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)),
    "non_local_means": Filter(_non_local_means, (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.9)),
}
