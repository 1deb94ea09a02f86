"""Prepared TensorFlow Datasets, read without TensorFlow."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from variants import experiment

from aeflax import config
from aeflax.data import dataset, reading, sources, tfds
from aeflax.data.rows import Lazy, blocks
from aeflax.errors import DataError
from aeflax.rundir import manifest

DIGITS = load_digits()


def digits(start, stop):
    for i in range(start, stop):
        yield {"image": DIGITS.images[i].astype(np.uint8)[..., None], "label": int(DIGITS.target[i])}


def prepare(folder, dataset_name, splits, *, version="1.0.0", **features):
    """Writes a data set as the library's own tools do, from {split: examples}, with the code that wrote it unknown."""
    import tensorflow_datasets as library

    class Builder(library.core.GeneratorBasedBuilder, skip_registration=True):
        # As for a script: the library needs importlib_resources to find the code of a module in a package.
        __module__ = "__main__"
        name = dataset_name
        VERSION = library.core.Version(version)

        def _info(self):
            return library.core.DatasetInfo(builder=self, features=library.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {split: enumerate(examples) for split, examples in splits.items()}

        def _generate_examples(self):
            raise NotImplementedError  # the library asks for the method

    Builder(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder / dataset_name / version


def tensor(*shape, dtype=np.uint8):
    import tensorflow_datasets as library

    return library.features.Tensor(shape=shape, dtype=dtype)


def label():
    import tensorflow_datasets as library

    return library.features.Scalar(np.int64)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with the data set `our_digits`: 40 training and 12 test digits."""
    folder = tmp_path_factory.mktemp("tfds")
    prepare(
        folder, "our_digits", {"train": digits(0, 40), "test": digits(40, 52)}, image=tensor(8, 8, 1), label=label()
    )
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty data folder, where TFDS is told to look."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    return tmp_path


def assert_same_examples(values, labels, start, stop):
    # TFDS shuffles when it prepares a data set.
    found = sorted((image.tobytes(), int(kind)) for image, kind in zip(values[:], labels[:], strict=True))
    expected = sorted((example["image"].tobytes(), example["label"]) for example in digits(start, stop))
    assert found == expected


def test_a_prepared_data_set_is_read_with_its_splits_and_labels(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    raw = sources.read("tfds:our_digits")
    assert raw.train.values.shape == (40, 8, 8, 1)
    assert raw.train.values.dtype == np.uint8
    assert_same_examples(raw.train.values, raw.train.labels, 0, 40)
    assert_same_examples(raw.test.values, raw.test.labels, 40, 52)


def test_a_prepared_data_set_comes_in_the_same_order_at_every_reading(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    settings = config.Data(source="tfds:our_digits")
    assert dataset.load(settings).fingerprint() == dataset.load(settings).fingerprint()


def test_its_test_split_is_kept_and_nothing_held_out(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    found = dataset.load(config.Data(source="tfds:our_digits", holdout=0.5))
    assert (len(found.train.values), len(found.test.values)) == (40, 12)


def test_reading_imports_no_tensorflow_and_warns_of_nothing(prepared):
    program = (
        "import sys; from aeflax.data.sources import read; raw = read('tfds:our_digits'); "
        "print(raw.train.values.shape, [name for name in sys.modules if name.split('.')[0] in ('tensorflow', 'jax')])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={"TFDS_DATA_DIR": str(prepared), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "(40, 8, 8, 1) []\n", done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["our_digits:1.0.0", "our_digits@1.0.0", "our_digits:1.*.*", "our_digits"])
@pytest.mark.parametrize("split", ["", ":train", ":train[:100%]"])
def test_a_version_and_a_split_may_be_named(prepared, monkeypatch, name, split):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    found = tfds.read(name + split)
    assert {part: len(values) for part, (values, _) in found.items()} == {"train": 40, "test": 12}


@pytest.mark.parametrize(
    ("split", "sizes"),
    [
        ("train[:25%]", {"train": 10, "test": 12}),
        ("train[:8]", {"train": 8, "test": 12}),
        ("test", {"train": 12}),
        ("train+test", {"train": 52}),
    ],
)
def test_a_split_stands_in_the_place_of_train_and_shares_nothing_with_test(prepared, monkeypatch, split, sizes):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    found = tfds.read(f"our_digits:{split}")
    assert {part: len(values) for part, (values, _) in found.items()} == sizes
    whole = tfds.read("our_digits")
    expected = np.concatenate([whole[part][0][:] for part in split.split("[")[0].split("+")])
    np.testing.assert_array_equal(found["train"][0][:], expected[: sizes["train"]])


def test_a_split_that_there_is_not_is_a_data_error(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    with pytest.raises(
        DataError, match=r"tfds:our_digits has no split dev that can be read \(.*; there are train, test"
    ):
        tfds.read("our_digits:dev")
    with pytest.raises(
        DataError, match=r"has no split train\[:0%\] that can be read \(it is empty\); there are train, test"
    ):
        tfds.read("our_digits:train[:0%]")


def test_records_are_read_when_they_are_asked_for_and_travel_by_name(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    values, labels = tfds.read("our_digits")["train"]
    assert isinstance(values, Lazy)
    whole = values[:]
    index = np.array([39, 0, 7, 7], np.int32)
    np.testing.assert_array_equal(values[index], whole[index])
    message = pickle.dumps((values, labels))
    assert len(message) < 1000
    again, kinds = pickle.loads(message)
    np.testing.assert_array_equal(again[index], whole[index])
    np.testing.assert_array_equal(kinds[index], labels[:][index])


def test_damage_is_found_when_the_record_is_read_and_named(here):
    images = ({"image": np.random.default_rng(i).integers(0, 256, (64, 64, 1)).astype(np.uint8)} for i in range(64))
    folder = prepare(here, "late", {"train": images}, image=tensor(64, 64, 1))
    (records,) = folder.glob("*.array_record-*")
    content = bytearray(records.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    records.write_bytes(bytes(content))
    found = load_lazily("tfds:late")
    with pytest.raises(DataError, match=rf"tfds:late is damaged \(.*; remove {folder} and prepare it again"):
        list(blocks(found.train.values)) + list(blocks(found.test.values))


def test_a_run_says_which_version_it_was_trained_on(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    settings = replace(experiment("vanilla", steps=2), data=config.Data(source="tfds:our_digits", batch_size=16))
    found = dataset.load(settings.data)
    assert str(found).startswith("tfds:our_digits (version 1.0.0): 40 train, 12 test images of 8×8×1")
    described = manifest.describe(settings, settings, found, "vanilla", None)
    assert described["inputs"]["version"] == "1.0.0"


def load_lazily(source):
    return dataset.load(config.Data(source=source, resident=False))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_records_are_read_ahead(prepared, monkeypatch, workers):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    found = load_lazily("tfds:our_digits").train.values
    tables = [np.arange(i, i + 8, dtype=np.int32) for i in range(0, 40, 8)]
    items = list(reading.ahead(found, tables, workers=workers))
    np.testing.assert_array_equal(np.concatenate(items), found[:])


def test_encoded_images_are_decoded_without_tensorflow():
    """As the prepared MNIST holds them; the library needs TensorFlow to encode, so that none is prepared here."""
    import tensorflow_datasets as library

    expected = np.arange(784, dtype=np.uint8).reshape(28, 28)
    encoded = io.BytesIO()
    Image.fromarray(expected % 251).save(encoded, "PNG")
    found = library.features.Image(shape=(28, 28, 1)).decode_example_np(encoded.getvalue())
    np.testing.assert_array_equal(found[..., 0], expected % 251)


def test_what_this_user_may_not_read_is_no_damage(prepared, monkeypatch):
    class Locked:
        def __len__(self):
            return 40

        def __getitems__(self, positions):
            raise ValueError("open() failed: Permission denied; opening the first file")

    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    monkeypatch.setattr(tfds.Reader, "_source", (Locked(), None))
    with pytest.raises(DataError, match=r"tfds:our_digits may not be read by this user \(open.*\); allow it"):
        tfds.read("our_digits")


def test_the_newest_version_is_read_where_none_is_named(here):
    for version, number in (("1.0.0", 1), ("1.10.0", 10), ("1.9.0", 9)):
        prepare(
            here, "versions", {"train": [{"x": np.array([number, 0])}]}, version=version, x=tensor(2, dtype=np.int64)
        )
    splits = tfds.read("versions")
    assert splits["train"][0][:].tolist() == [[10, 0]]
    prepare(here, "versions", {"train": digits(0, 5)}, version="2.0.0", image=tensor(8, 8, 1), label=label())
    for source, version in (("tfds:versions", "2.0.0"), ("tfds:versions:1.*.*", "1.10.0")):
        found = dataset.load(config.Data(source=source)) if version == "2.0.0" else sources.read(source)
        assert found.version == version


@pytest.mark.parametrize("name", ["mnist", "our_digits:2.0.0", "our_digits/other", "unknown", "not a name"])
def test_what_is_not_prepared_is_answered_with_the_commands_that_prepare_it(prepared, monkeypatch, name):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    with pytest.raises(DataError, match="is not prepared in a form that can be read") as caught:
        tfds.read(name)
    assert caught.value.exit_code == 5
    assert "; there is our_digits:1.0.0; " in str(caught.value)
    assert "pip install 'aeflax[tfds]'" in str(caught.value)
    assert f"tfds.builder('{name}', file_format='array_record').download_and_prepare()" in str(caught.value)


def test_a_set_of_a_similar_name_is_named(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    with pytest.raises(DataError, match=r"there is our_digits:1\.0\.0; did you mean our_digits\?; set TFDS_DATA_DIR"):
        tfds.read("our_digit")


def test_another_folder_than_that_of_the_sets_is_told_of(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared / "our_digits"))
    with pytest.raises(
        DataError, match=r"our_digits is itself a set; TFDS_DATA_DIR must name the folder above it, \S+$"
    ) as caught:
        tfds.read("our_digits")
    for place, said in (
        (
            prepared / "our_digits" / "1.0.0",
            r"1\.0\.0 is itself a version of a set; TFDS_DATA_DIR must name the folder two above it, \S+$",
        ),
        (prepared.parent, rf"; it lies in {prepared}, which TFDS_DATA_DIR is to name$"),
        (prepared / "nowhere", r"nowhere is no folder; TFDS_DATA_DIR must name that of the sets$"),
    ):
        monkeypatch.setenv("TFDS_DATA_DIR", str(place))
        with pytest.raises(DataError, match=said):
            tfds.read("our_digits")
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setenv("HOME", str(prepared / "nobody"))
    with pytest.raises(DataError) as elsewhere:
        tfds.read("our_digits")
    assert "GPath" not in f"{caught.value} {elsewhere.value}"


def test_a_configuration_is_not_taken_for_another_set(prepared, monkeypatch, tmp_path):
    """Such as emnist/mnist, which is not mnist."""
    place = tmp_path / "sets" / "others" / "our_digits" / "1.0.0"
    shutil.copytree(prepared / "our_digits" / "1.0.0", place)
    info = place / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"name": "others"}))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "sets"))
    with pytest.raises(DataError) as caught:
        tfds.read("our_digits")
    assert "it lies in" not in str(caught.value)
    assert "prepare it with" in str(caught.value)


def test_a_set_in_tfds_own_default_form_is_told_which_one_is_read_and_where_to_put_it(here):
    folder = prepare(here, "records", {"train": digits(0, 5)}, image=tensor(8, 8, 1), label=label())
    info = folder / "dataset_info.json"
    text = info.read_text()
    assert '"array_record"' in text
    info.write_text(text.replace('"array_record"', '"tfrecord"'))  # to write that form takes TensorFlow
    with pytest.raises(DataError, match=r"prepared as tfrecord.*as array_record in another folder.*TFDS_DATA_DIR"):
        tfds.read("records")


def test_what_tfds_says_of_a_missing_set_ends_with_its_sentence(here):
    with pytest.raises(DataError) as caught:
        tfds.read("nothing")
    assert f"generated in: ['{here}']); set TFDS_DATA_DIR to the folder" in str(caught.value)


def test_damaged_examples_are_a_data_error(here):
    folder = prepare(here, "damaged", {"train": digits(0, 5)}, image=tensor(8, 8, 1), label=label())
    (records,) = folder.glob("*.array_record-*")
    content = bytearray(records.read_bytes())
    content[200] ^= 1  # in the first chunk of records; most of a small file is padding
    records.write_bytes(bytes(content))
    with pytest.raises(DataError, match=rf"tfds:damaged is damaged \(.*; remove {folder} and prepare it again"):
        tfds.read("damaged")["train"][0][:]


def test_a_file_that_becomes_shorter_while_it_is_read_is_a_data_error(here):
    folder = prepare(here, "shorter", {"train": digits(0, 1000)}, image=tensor(8, 8, 1), label=label())
    examples = tfds.read("shorter")["train"][0]
    assert examples[:5].any()
    (records,) = folder.glob("*.array_record-*")
    os.truncate(records, 3000)
    with pytest.raises(
        DataError, match=rf"tfds:shorter is damaged \(a record is empty\); remove {folder} and prepare it"
    ):
        examples[-5:]


def test_a_lost_file_of_examples_is_a_data_error(here):
    folder = prepare(here, "lost", {"train": digits(0, 5)}, image=tensor(8, 8, 1), label=label())
    for records in folder.glob("*.array_record-*"):
        records.unlink()
    with pytest.raises(DataError, match="tfds:lost is "):
        tfds.read("lost")


def test_the_only_feature_needs_no_name_and_labels_are_optional(here):
    rows = [{"vector": np.full(3, i, np.float32)} for i in range(5)]
    prepare(here, "vectors", {"train": rows}, vector=tensor(3, dtype=np.float32))
    raw = sources.read("tfds:vectors")
    assert raw.train.values.dtype == np.float32
    assert sorted(raw.train.values[:][:, 0].tolist()) == [0, 1, 2, 3, 4]
    assert raw.train.labels is None
    assert raw.test is None


def test_image_is_taken_from_several_features(here):
    rows = [{"image": np.full((2, 2), i), "angle": np.array([99])} for i in range(3)]
    prepare(here, "angles", {"train": rows}, image=tensor(2, 2, dtype=np.int64), angle=tensor(1, dtype=np.int64))
    assert tfds.read("angles")["train"][0][:].max() == 2


def test_several_features_without_image_are_a_data_error(here):
    rows = [{"left": np.zeros(2, int), "right": np.zeros(2, int)}]
    prepare(here, "pairs", {"train": rows}, left=tensor(2, dtype=np.int64), right=tensor(2, dtype=np.int64))
    with pytest.raises(DataError, match="tfds:pairs has the features left, right; one of them must be called image"):
        tfds.read("pairs")


def test_examples_of_several_sizes_are_a_data_error(here):
    rows = [{"image": np.zeros((size, 2), np.uint8)} for size in (2, 3)]
    prepare(here, "ragged", {"train": rows}, image=tensor(None, 2))
    with pytest.raises(DataError, match="tfds:ragged: examples of the feature image differ in shape"):
        tfds.read("ragged")["train"][0][:]


def test_a_set_without_a_training_split_is_a_data_error(here):
    prepare(here, "parts", {"left": digits(0, 2), "right": digits(2, 4)}, image=tensor(8, 8, 1), label=label())
    with pytest.raises(DataError, match="tfds:parts has the splits left, right, but no split called train"):
        tfds.read("parts")
