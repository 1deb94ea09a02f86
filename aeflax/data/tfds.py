"""TensorFlow Datasets, read without TensorFlow: prepared data sets as random-access sources."""

import errno
import os
import re
import threading
from typing import Any

import numpy as np

from aeflax.config.schema import nearest
from aeflax.data import prepared
from aeflax.data.rows import Lazy, Rows
from aeflax.errors import DataError, reason
from aeflax.storage.document import read_json

# NAME[/CONFIG], its version after a colon or an @, and the split to train on as TFDS writes it, such as train[:80%].
GPATH = re.compile(r"\[?PosixGPath\('([^']*)'\)\]?")  # a folder, as TFDS names it
PLACE = re.compile(r"(?P<name>[^:@]+)(?:[:@](?P<version>[\d*]+\.[\d*]+\.[\d*]+))?(?::(?P<split>[A-Za-z_].*))?")

SHOWN = 10  # prepared sets that an error names
_OPENING = threading.Lock()  # what TFDS imports when it is needed does not bear two threads


def read(place: str) -> dict[str, tuple[Rows, Rows | None]]:
    """Opens a prepared data set -> {split: (examples, labels or None)}, read when they are asked for.

    Examples are the feature `image`, or the only feature beside `label`. Looks under `TFDS_DATA_DIR`,
    which is `~/tensorflow_datasets` where it is not set.

    Args:
      place: NAME[/CONFIG], [:VERSION] or [@VERSION], else the newest, and [:SPLIT], which stands in the place of
        `train`; the split `test` is left out where that one draws on it.

    Raises:
      DataError: if it is not prepared, with the commands that prepare it, or if its splits do not fit.
    """
    match = PLACE.fullmatch(place)
    if match is None:
        raise DataError(f"tfds:{place} has not the form tfds:NAME[/CONFIG][:VERSION][:SPLIT]; mend the name")
    name = _named(match)
    chosen = match["split"]
    try:
        builder = _builder(name)
        known = [str(split) for split in builder.info.splits]
    except Exception as error:  # TFDS raises a dozen kinds here; each means: not there in a readable form
        mend = _elsewhere(name) or f"{_beside(name)}; {preparation(name)}"
        raise DataError(f"tfds:{name} is not prepared in a form that can be read ({_said(error)}){mend}") from error
    _require_random_access(name, builder)
    splits = {split: split for split in known}
    if chosen:
        try:
            if not builder.info.splits[chosen].num_examples:
                raise ValueError("it is empty")
        except Exception as error:  # as above
            raise DataError(
                f"tfds:{name} has no split {chosen} that can be read ({reason(error)}); there are {', '.join(known)}"
            ) from error
        splits = {"train": chosen} | ({"test": "test"} if "test" in known and "test" not in chosen else {})
    if "train" not in splits:
        found = ", ".join(known) or "(none)"
        raise DataError(f"tfds:{name} has the splits {found}, but no split called train; name one as tfds:{name}:SPLIT")
    return {split: _open(name, of) for split, of in splits.items() if split in ("train", "test")}


def version(place: str) -> str:
    """The version of a prepared data set that `read` finds under this name."""
    match = PLACE.fullmatch(place)
    assert match is not None  # it was read
    return str(_builder(_named(match)).version)


def _named(match: re.Match[str]) -> str:
    """The name by which TFDS finds a data set."""
    return match["name"] + (f":{match['version']}" if match["version"] else "")


def preparation(name: str) -> str:
    """How to prepare a data set, as the end of a sentence."""
    return (
        "set TFDS_DATA_DIR to the folder that holds it, or prepare it with pip install 'aeflax[tfds]' && "
        'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', file_format='array_record').download_and_prepare()\" "
        "(a set of your own by its own class)"
    )


def _elsewhere(name: str) -> str:
    """That the folder is not the one that has the sets, and which does, as part of a sentence."""
    root = prepared.root()
    if (why := prepared.misplaced(root)) and (os.environ.get(prepared.NAMED_BY) or root.is_dir()):
        return f"; {why}"
    below = sorted(root.glob(f"*/{name.partition(':')[0]}/*/{prepared.DESCRIBED}"))
    if below and (read_json(below[0]) or {}).get("name") == name.partition(":")[0]:  # and is no configuration called so
        return f"; it lies in {below[0].parents[2]}, which TFDS_DATA_DIR is to name"
    return ""


def _beside(name: str) -> str:
    """Which prepared sets there are in place of one that is not, as part of a sentence."""
    found = prepared.sets(prepared.root())
    there = f"; there {'is' if len(found) == 1 else 'are'} {', '.join(prepared.listed(found)[:SHOWN])}" if found else ""
    return there + nearest(name, {one.partition(":")[0] for one in found} - {name.partition(":")[0]})


def _said(error: Exception) -> str:
    """What TFDS says, in one line; of a set that is not there the folder it looked in, whole, and not its guess why."""
    told, guess, _ = str(error).partition(". If the dataset has config")
    return GPATH.sub(r"\1", told) if guess else reason(error)


def _require_random_access(name: str, builder: Any) -> None:
    """Raises DataError where the records can only be read one after another, as in TFDS' own default, TFRecord."""
    form = builder.info.file_format
    if form not in type(form).with_random_access():
        raise DataError(
            f"tfds:{name} is prepared as {form.value}, whose examples cannot be drawn in any order; prepare it as "
            "array_record in another folder (its builder with file_format='array_record' and data_dir=FOLDER), and set "
            "TFDS_DATA_DIR to that"
        )


def _builder(name: str) -> Any:
    # Not `tfds.builder`: it runs the code of data sets that are not prepared, and that code needs TensorFlow.
    from tensorflow_datasets.core.read_only_builder import builder_from_files

    return builder_from_files(name, data_dir=os.environ.get("TFDS_DATA_DIR"))


def _open(name: str, split: str) -> tuple[Rows, Rows | None]:
    where = f"tfds:{name}"
    whole = Reader(name, split)
    if not len(whole):
        raise DataError(f"{where} holds an empty split")
    first = whole.records([0])[0]
    features = [key for key in first if key != "label"]
    key = "image" if "image" in features else features[0] if len(features) == 1 else None
    if key is None:
        raise DataError(f"{where} has the features {', '.join(features)}; one of them must be called image")
    labels = _rows(name, split, "label", len(whole), first) if "label" in first else None
    return _rows(name, split, key, len(whole), first), labels


def _rows(name: str, split: str, key: str, count: int, first: dict[str, Any]) -> Lazy:
    value = np.asarray(first[key])
    dtype = value.dtype if value.dtype.kind in "iufb" else np.dtype(object)
    if key != "label" and dtype not in (np.uint8, object):
        dtype = np.dtype(np.float32)
    shape = (*value.shape, 1) if value.ndim == 2 else value.shape
    return Lazy((count, *shape), dtype, Reader(name, split, key, shape, dtype))


class Reader:
    """Reads the records of a split, whole or one feature of them; opened when first used, in each process anew."""

    def __init__(
        self, name: str, split: str, key: str = "", shape: tuple[int, ...] = (), dtype: np.dtype[Any] | None = None
    ) -> None:
        self._arguments = (name, split, key, shape, dtype)
        self._where, self._key, self._shape, self._dtype = f"tfds:{name}", key, shape, dtype
        self._opened: Any = None
        self._folder = ""  # where its files lie, once it was opened

    def __reduce__(self) -> Any:
        return Reader, self._arguments

    def __len__(self) -> int:
        return len(self._source[0])

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Records at positions [K] -> their values [K, ...]."""
        found = np.empty((len(positions), *self._shape), self._dtype)
        for place, record in enumerate(self.records(positions.tolist())):
            value = np.asarray(record[self._key])
            if value.size != found[place].size or value.shape != self._shape[: value.ndim]:
                raise DataError(
                    f"{self._where}: examples of the feature {self._key} differ in shape; give them one size"
                )
            with np.errstate(over="ignore"):  # becomes infinite, which is found where values are checked
                found[place] = value.reshape(self._shape)
        return found

    def records(self, positions: list[int]) -> list[dict[str, Any]]:
        """Whole records, or as much of them as the feature needs."""
        try:
            source, features = self._source
            found = source.__getitems__(positions)
            if not all(found):  # what ArrayRecord gives where a file has become shorter
                raise EOFError("a record is empty")
            return [features.deserialize_example_np(record) for record in found]
        except DataError:
            raise
        except Exception as error:  # ArrayRecord detects damage and raises by kind of damage
            if os.strerror(errno.EACCES) in str(error):
                raise DataError(f"{self._where} may not be read by this user ({reason(error)}); allow it") from error
            mend = f"remove {self._folder or 'it'} and prepare it again"
            raise DataError(f"{self._where} is damaged ({reason(error)}); {mend}") from error

    @property
    def _source(self) -> Any:
        """The records as bytes, and the features that decode as much of them as is needed."""
        with _OPENING:
            if self._opened is None:
                self._opened = self._open()
        return self._opened

    def _open(self) -> Any:
        from tensorflow_datasets.core.decode.base import DeserializeMethod
        from tensorflow_datasets.core.features.features_dict import FeaturesDict

        name, split, key, *_ = self._arguments
        try:
            builder = _builder(name)
            self._folder = str(builder.data_dir)
            source = builder.as_data_source(split=split, deserialize_method=DeserializeMethod.RAW_BYTES)
            features = builder.info.features
            return source, FeaturesDict({key: features[key]}) if key else features
        except Exception as error:  # as above; a split that there is not among them
            raise DataError(
                f"tfds:{name} is not prepared in a form that can be read ({reason(error)}); {preparation(name)}"
            ) from error
