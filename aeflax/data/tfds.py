"""TensorFlow Datasets, read without TensorFlow: prepared data sets as random-access sources."""

import os
from typing import Any

import numpy as np

from aeflax.errors import DataError, reason


def read(name: str) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Reads a prepared data set -> {split: (examples, labels or None)}; of its versions, the newest or the named one.

    Examples are the feature `image`, or the only feature beside `label`. Looks under `TFDS_DATA_DIR`,
    which is `~/tensorflow_datasets` where it is not set.

    Raises:
      DataError: if it is not prepared, with the commands that prepare it.
    """
    # Not `tfds.builder`: it runs the code of data sets that are not prepared, and that code needs TensorFlow.
    from tensorflow_datasets.core.read_only_builder import builder_from_files

    try:
        builder = builder_from_files(name, data_dir=os.environ.get("TFDS_DATA_DIR"))
        sources = {str(split): builder.as_data_source(split=split) for split in builder.info.splits}
    except Exception as error:  # TFDS raises a dozen kinds here; each means: not there in a readable form
        raise DataError(
            f"tfds:{name} is not prepared in a form that can be read ({reason(error)}); {preparation(name)}"
        ) from error
    splits = {split: _arrays(f"tfds:{name}", source) for split, source in sources.items()}
    if "train" not in splits:
        raise DataError(f"tfds:{name} has the splits {', '.join(splits) or '(none)'}, but no split called train")
    return splits


def preparation(name: str) -> str:
    """How to prepare a data set, as the end of a sentence."""
    return (
        "prepare it with pip install 'aeflax[tfds]' && python -c \"import tensorflow_datasets as tfds; "
        f"tfds.builder('{name}', file_format='array_record').download_and_prepare()\""
    )


def _arrays(where: str, source: Any) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        records = [source[i] for i in range(len(source))]
    except Exception as error:  # ArrayRecord detects damage and raises by kind of damage
        raise DataError(f"{where} is damaged ({reason(error)}); remove it and prepare it again") from error
    if not records:
        raise DataError(f"{where} holds an empty split")
    features = [key for key in records[0] if key != "label"]
    key = "image" if "image" in features else features[0] if len(features) == 1 else None
    if key is None:
        raise DataError(f"{where} has the features {', '.join(features)}; one of them must be called image")
    try:
        examples = np.stack([np.asarray(record[key]) for record in records])
    except ValueError as error:
        raise DataError(f"{where}: examples of the feature {key} differ in shape; give them one size") from error
    labels = np.array([record["label"] for record in records]) if "label" in records[0] else None
    return examples, labels
