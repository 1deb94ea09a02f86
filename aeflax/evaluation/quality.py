"""How near reconstructions come to what they should be: PSNR and SSIM, computed without JAX."""

import numpy as np

PSNR_FLOOR = 1e-10  # squared error of an image reconstructed to 100 dB; keeps a perfect one finite
_WINDOW = 7  # side of the windows of SSIM, pixels

Scores = dict[str, np.ndarray]  # by metric, [N]


def quality(images: np.ndarray, targets: np.ndarray) -> Scores:
    """How near examples [N, ...] in [0, 1] are to what they should be; each metric [N], higher is better.

    `psnr`, and of images [N, H, W, C] also `ssim`: structural similarity (Wang et al. 2004), 1 for equal images, with
    uniform windows of 7 pixels, of smaller images the largest odd side that fits; mean over the channels.
    """
    found = {"psnr": psnr(images, targets)}
    if images.ndim != 4:
        return found
    from skimage.metrics import structural_similarity

    # Moments of a window are its own, as in the paper, not estimates from a sample: a window may be a single pixel.
    settings = {"win_size": window_of(images.shape[1:]), "data_range": 1.0, "use_sample_covariance": False}
    pairs = zip(images, targets, strict=True)
    return found | {"ssim": np.array([structural_similarity(*pair, channel_axis=-1, **settings) for pair in pairs])}


def psnr(images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each example, dB [N], peak 1; of equal ones 100 dB."""
    return decibels(squared_error(images, targets))


def decibels(errors: np.ndarray) -> np.ndarray:
    """Squared errors per feature [N] as PSNR, dB [N], peak 1."""
    return np.asarray(-10.0 * np.log10(np.maximum(errors, PSNR_FLOOR)))


def squared_error(images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Per feature of each example, [N] float64."""
    difference = (images - targets).reshape(len(images), -1)
    return np.asarray(np.mean(difference**2, axis=-1, dtype=np.float64))


def window_of(shape: tuple[int, ...]) -> int:
    """Side of the windows of SSIM in images of a shape (H, W, C), odd."""
    side = min(*shape[:2], _WINDOW)
    return side - (side + 1) % 2
