"""Prepares images.npy of a folder as the TFDS data set `speed`, in ArrayRecord files, without TensorFlow.

The folder is the only argument.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds


class Speed(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Random images."""

    name = "speed"
    VERSION = tfds.core.Version("1.0.0")
    folder = Path()

    def _info(self) -> tfds.core.DatasetInfo:
        images = np.load(self.folder / "images.npy", mmap_mode="r")
        features = {"image": tfds.features.Tensor(shape=images.shape[1:], dtype=np.uint8)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, _: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        images = np.load(self.folder / "images.npy", mmap_mode="r")
        for index in range(len(images)):
            yield index, {"image": np.asarray(images[index])}


if __name__ == "__main__":
    Speed.folder = Path(sys.argv[1])
    Speed(data_dir=sys.argv[1], file_format="array_record").download_and_prepare()
