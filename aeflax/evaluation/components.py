"""Principal components."""

from dataclasses import dataclass

import numpy as np

FEW = 1024  # features whose covariance is decomposed in a fraction of a second
BLOCK = 4096  # rows that are added to it at once


@dataclass(frozen=True)
class Components:
    """Principal components: the `mean` [F] of the rows that they were found in, and orthonormal `axes` [D, F]."""

    mean: np.ndarray
    axes: np.ndarray

    def transform(self, rows: np.ndarray) -> np.ndarray:
        """Rows [N, F] along the axes, [N, D]."""
        found: np.ndarray = (rows - self.mean) @ self.axes.T
        return found

    def inverse_transform(self, codes: np.ndarray) -> np.ndarray:
        """The rows [N, F] that codes [N, D] stand for."""
        found: np.ndarray = codes @ self.axes + self.mean
        return found

    def squares(self, rows: np.ndarray) -> np.ndarray:
        """Squared errors [N, F] of rows [N, F] that are reconstructed."""
        centred = rows - self.mean
        found: np.ndarray = (centred @ self.axes.T @ self.axes - centred) ** 2
        return found

    def error(self, rows: np.ndarray) -> np.ndarray:
        """Squared error per feature [N] of rows [N, F] that are reconstructed."""
        found: np.ndarray = np.mean(self.squares(rows), axis=1, dtype=float)
        return found


def components(rows: np.ndarray, code_size: int | None) -> Components:
    """Principal components of rows [N, F]: as many as the code has, or all that there are.

    Where features are few they are eigenvectors of the covariance, since to import scikit-learn alone takes longer
    than small models train.
    """
    # Beside a mean far from 0, a covariance would lose the spread in float32; so would the small spreads beside large.
    mean = rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
    count = min(code_size or rows.shape[1], *rows.shape)
    if rows.shape[1] > FEW:
        from sklearn.decomposition import PCA

        with np.errstate(invalid="ignore"):  # rows that are all alike have no variance to explain a share of
            model = PCA(count, random_state=0).fit(rows - mean)
        return Components(mean + model.mean_, model.components_)
    covariance = np.zeros((rows.shape[1],) * 2)
    for start in range(0, len(rows), BLOCK):
        part = (rows[start : start + BLOCK] - mean).astype(np.float64)
        covariance += part.T @ part
    axes = np.linalg.eigh(covariance)[1][:, ::-1].T[:count]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1)
    return Components(mean, (axes * np.sign(largest)).astype(rows.dtype))
