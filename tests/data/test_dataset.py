"""Data sets: checked, split, scaled, fingerprinted."""

import dataclasses

import numpy as np
import pytest

from aeflax import config
from aeflax.data import dataset
from aeflax.data.dataset import load
from aeflax.data.sources import Examples, Raw
from aeflax.errors import ConfigError, DataError


def numbered(examples, features=3):
    """Rows that say their own number: row i is [i, i, ...]."""
    return np.repeat(np.arange(examples, dtype=np.float32)[:, None], features, axis=1)


def numbers(examples):
    return examples.values.reshape(len(examples.values), -1)[:, 0].astype(int).tolist()


def of(array, **settings):
    return load(config.Data(**settings), array)


@pytest.fixture
def source(monkeypatch):
    """Lets `load` read the given Raw from any source."""

    def deliver(raw, **settings):
        monkeypatch.setattr(dataset, "read", lambda *_, **__: raw)
        return load(config.Data(source="npy:given", **settings))

    return deliver


def labelled(start, stop):
    return Examples(numbered(stop)[start:], np.arange(start, stop) % 5)


# --- splits ---


@pytest.mark.parametrize(("share", "every"), [(0.2, 5), (0.1, 10), (0.5, 2), (0.34, 3), (0.9, 2)])
def test_every_kth_example_is_held_out_for_testing(share, every):
    found = of(numbered(20), holdout=share)
    assert numbers(found.test) == list(range(every - 1, 20, every))
    assert numbers(found.train) == [i for i in range(20) if i % every != every - 1]
    assert found.validation is None


def test_labels_follow_their_examples_into_every_split(source):
    found = source(Raw(labelled(0, 20)), validation=3)
    for part in (found.train, found.validation, found.test):
        assert part.labels.tolist() == [number % 5 for number in numbers(part)]


def test_too_few_examples_to_hold_one_out_are_a_data_error():
    with pytest.raises(DataError, match=r"has 4 examples, too few to hold out every 5th .*; raise data\.holdout"):
        of(numbered(4))
    assert numbers(of(numbered(5)).test) == [4]


def test_a_source_with_a_test_split_keeps_it(source):
    found = source(Raw(labelled(0, 10), labelled(10, 14)), holdout=0.5)
    assert numbers(found.train) == list(range(10))
    assert numbers(found.test) == [10, 11, 12, 13]


def test_validation_withholds_the_last_training_examples(source):
    found = source(Raw(labelled(0, 10), labelled(10, 14)), validation=3)
    assert numbers(found.train) == list(range(7))
    assert numbers(found.validation) == [7, 8, 9]
    assert numbers(found.test) == [10, 11, 12, 13]


def test_validation_must_leave_training_examples(source):
    raw = Raw(labelled(0, 10), labelled(10, 14))
    assert numbers(source(raw, validation=9).train) == [0]
    with pytest.raises(ConfigError, match=r"data\.validation=10 leaves none of 10 training examples; lower it"):
        source(raw, validation=10)


def test_limit_shortens_training_and_leaves_the_test_split_whole(source):
    found = source(Raw(labelled(0, 10), labelled(10, 14)), limit=4, validation=1)
    assert numbers(found.train) == [0, 1, 2]
    assert numbers(found.validation) == [3]
    assert numbers(found.test) == [10, 11, 12, 13]


def test_a_limit_beyond_the_data_changes_nothing():
    assert numbers(of(numbered(5), limit=1000).train) == [0, 1, 2, 3]


def test_classes_keep_only_their_examples_in_every_split(source):
    found = source(Raw(labelled(0, 10), labelled(10, 15)), classes=(1, 4))
    assert numbers(found.train) == [1, 4, 6, 9]
    assert numbers(found.test) == [11, 14]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.array(["ok", "bad", "", "ok"]), ("ok",)),
        (np.array([1.0, 0.5, np.nan, 1.0]), (1,)),
        (np.array([1, 0, 2, 1]), ("1",)),
        (np.array(["1", "0", "", "true"]), (1,)),
        (np.array(["1.0", "0.0", "", "true"]), (1.0,)),
        (np.array([1, 0, 2, 1]), ("1.0",)),
        (np.array([1, 0, 0, 1]), (True,)),
        (np.array(["cafe\u0301", "tea", "", " caf\u00e9"]), ("caf\u00e9",)),
        (np.array([b"cat", b"dog", b"", b"cat"]), ("cat",)),
        (np.array(["01", "1", "", "01"]), ("01",)),
    ],
    ids=str,
)
def test_classes_are_named_as_they_are_written(source, labels, classes):
    found = source(Raw(Examples(numbered(4), labels)), classes=classes, holdout=0.5)
    assert numbers(found.train) + numbers(found.test) == [0, 3]


def test_a_class_may_be_in_one_of_the_splits_alone(source):
    found = source(Raw(labelled(0, 10), labelled(10, 12)), classes=(1, 4))
    assert (numbers(found.train), numbers(found.test)) == ([1, 4, 6, 9], [11])
    with pytest.raises(ConfigError, match=r"no test example of .* has a label of data\.classes, 3, 4"):
        source(Raw(labelled(0, 10), labelled(10, 12)), classes=(3, 4))


def test_labels_are_parted_by_spaces(source):
    with pytest.raises(ConfigError, match=r"the label 0,1, which .*; names are parted by spaces"):
        source(Raw(labelled(0, 10)), classes=("0,1",))


def test_classes_are_chosen_before_the_holdout(source):
    found = source(Raw(labelled(0, 20)), classes=(0,), holdout=0.5)
    assert numbers(found.train) == [0, 10]
    assert numbers(found.test) == [5, 15]


def test_classes_without_labels_or_without_examples_are_configuration_errors(source):
    with pytest.raises(ConfigError, match=r"data\.classes needs labels, and the array has none"):
        of(numbered(10), classes=(1,))
    with pytest.raises(
        ConfigError, match=r"no example of .* has the label 7, which data\.classes names; there are 0, 1"
    ):
        source(Raw(labelled(0, 10)), classes=(1, 7))


def test_splits_are_found_by_name(source):
    found = source(Raw(labelled(0, 10), labelled(10, 14)), validation=2)
    assert found.split("train") is found.train
    assert found.split("validation") is found.validation
    assert found.split("test") is found.test


@pytest.mark.parametrize("name", ["validation", "dev"])
def test_a_split_that_is_not_there_is_a_configuration_error(name):
    with pytest.raises(ConfigError, match=f"has no split '{name}', only train, test"):
        of(numbered(10)).split(name)


def test_train_and_test_examples_must_agree_in_shape(source):
    raw = Raw(Examples(numbered(5, features=3)), Examples(numbered(5, features=4)))
    with pytest.raises(DataError, match=r"training examples have the shape \(3,\), test examples \(4,\)"):
        source(raw)


# --- checks ---


@pytest.mark.parametrize(
    ("shape", "example"), [((9, 4), (4,)), ((9, 4, 3), (4, 3, 1)), ((9, 4, 3, 2), (4, 3, 2))], ids=str
)
def test_vectors_and_images_are_taken_and_grey_images_get_a_channel(shape, example):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    found = of(array)
    assert found.shape == example
    np.testing.assert_array_equal(found.train.values[0].ravel(), array[0].ravel())


@pytest.mark.parametrize("shape", [(), (9,), (9, 2, 2, 2, 2)], ids=str)
def test_other_ranks_are_refused(shape):
    with pytest.raises(DataError, match=r"expected \[N, D\], \[N, H, W\] or \[N, H, W, C\]"):
        of(np.zeros(shape, np.float32))


@pytest.mark.parametrize("shape", [(0, 4), (9, 0), (9, 0, 4), (9, 4, 4, 0)], ids=str)
def test_empty_data_is_refused(shape):
    with pytest.raises(DataError, match="is empty: its shape is"):
        of(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", [object, "U3", "S3", np.complex64, "datetime64[s]", [("a", "f4")]], ids=str)
def test_values_that_are_no_real_numbers_are_refused(dtype):
    with pytest.raises(DataError, match=r"the array holds values of type .*, not numbers; convert them first"):
        of(np.zeros((9, 4), dtype))


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i8", "f2", "f8", ">i4", ">f4"])
def test_other_numbers_become_float32(dtype):
    array = np.arange(40).reshape(10, 4).astype(dtype)
    found = of(array)
    assert found.train.values.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(found.test.values, array[[4, 9]].astype(float))


def test_bytes_stay_bytes():
    array = np.arange(40, dtype=np.uint8).reshape(10, 4)
    assert of(array).train.values.dtype == np.uint8


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39, -1e300], ids=["NaN", "inf", "-inf", "1e39", "-1e300"])
def test_values_that_float32_cannot_hold_are_named_with_their_index(value):
    array = np.zeros((10, 4, 3))
    array[7, 2, 1] = array[8, 0, 0] = value
    with pytest.raises(
        DataError, match=r"holds 2 values that are (NaN|infinite or .*), the first at index \[7, 2, 1\]"
    ) as caught:
        of(array)
    assert caught.value.exit_code == 5


def test_a_fault_in_the_test_split_names_that_split(source):
    raw = Raw(Examples(numbered(5)), Examples(np.full((2, 3), np.nan)))
    with pytest.raises(DataError, match=r"npy:given \(test\) holds 6 values that are NaN"):
        source(raw)


@pytest.mark.parametrize("number", ["1e300", "inf"])
def test_a_table_with_an_unfit_number_is_named_with_its_line(tmp_path, number):
    (tmp_path / "a.csv").write_text(f"a,b\n1,2\n3,{number}\n")
    with pytest.raises(DataError, match=r"a\.csv: the value in line 3, column 2 \('b'\) is infinite"):
        load(config.Data(source=f"csv:{tmp_path / 'a.csv'}"))


# --- scaling ---


def scaled(found, part="train"):
    values = found.split(part).values
    return found.scaling.apply(values.reshape(len(values), -1))


@pytest.mark.parametrize(
    ("array", "divisor"),
    [(np.full((5, 2), 51, np.uint8), 255), (np.full((5, 2), 51.0), 1), (np.full((5, 2), 51, np.int32), 1)],
    ids=["uint8", "float", "int"],
)
def test_without_scaling_only_bytes_are_divided(array, divisor):
    rows = scaled(of(array))
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, np.full((4, 2), np.float32(51) / np.float32(divisor)))


def test_digits_are_divided_by_sixteen():
    found = load(config.Data(source="digits"))
    assert found.shape == (8, 8, 1)
    assert found.span == (0.0, 1.0)
    assert set(np.unique(scaled(found) * 16).tolist()) == set(range(17))


def test_unit_scaling_maps_each_feature_of_vectors_to_zero_and_one():
    array = np.array([[0, -10, 7], [5, 30, 7], [10, 10, 7], [2.5, 0, 7]], np.float64)
    found = of(np.concatenate([array, [[99, 99, 99]]]), scale="unit")  # the fifth row is the test split
    np.testing.assert_array_equal(scaled(found), [[0, 0, 0], [0.5, 1, 0], [1, 0.5, 0], [0.25, 0.25, 0]])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_unit_scaling_maps_images_by_one_span(dtype):
    array = np.zeros((5, 2, 2, 3), dtype)
    array[0], array[1, 0, 0, 0] = 50, 150
    found = of(array + dtype(50), scale="unit")
    rows = scaled(found)
    assert rows[1].tolist() == [1.0, *[0.0] * 11]
    np.testing.assert_array_equal(rows[0], np.full(12, np.float32(50) / np.float32(150)))
    assert found.span == (0.0, 1.0)


def test_standard_scaling_gives_each_feature_of_vectors_mean_zero_and_variance_one():
    array = np.random.default_rng(0).normal([5.0, -300.0, 0.001], [2.0, 50.0, 0.0001], (200, 3))
    rows = scaled(of(array, scale="standard")).astype(np.float64)
    # float32 has 24 bits, and the mean is up to ten standard deviations away: 10 * 2**-24 each, with room.
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-5)


def test_standard_scaling_gives_each_channel_of_images_mean_zero_and_variance_one():
    random = np.random.default_rng(0)
    array = random.normal([5.0, -3.0], [2.0, 0.5], (50, 4, 3, 2)) + random.normal(size=(1, 4, 3, 1))
    found = of(array, scale="standard")
    channels = scaled(found).astype(np.float64).reshape(-1, 2)
    np.testing.assert_allclose(channels.mean(axis=0), 0, atol=1e-5)  # float32 rounding, as above
    np.testing.assert_allclose(channels.std(axis=0), 1, atol=1e-5)
    pixels = scaled(found).reshape(-1, 12, 2).mean(axis=0)
    assert np.ptp(pixels, axis=0).min() > 0.1  # the differences between pixels stay


@pytest.mark.parametrize("scale", ["unit", "standard"])
@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e30])
def test_a_constant_feature_maps_to_zero_at_its_value_in_training(scale, value):
    array = numbered(10)
    array[:, 1] = value
    rows = scaled(of(array, scale=scale))
    assert rows[:, 1].tolist() == [0.0] * 8
    assert rows[:, 0].std() > 0.2


@pytest.mark.parametrize("scale", ["unit", "standard"])
def test_constant_images_map_to_zero(scale):
    assert not scaled(of(np.full((10, 4, 4), 0.1), scale=scale)).any()


def test_a_feature_whose_spread_float32_rounds_to_zero_stays_finite():
    array = numbered(1000)
    array[:, 1] = 0
    array[0, 1] = np.float32(1e-45)  # its standard deviation, 4e-47, is below the smallest float32
    assert np.isfinite(scaled(of(array, scale="standard"))).all()


@pytest.mark.parametrize("scale", ["unit", "standard"])
@pytest.mark.parametrize("settings", [{}, {"validation": 2}, {"limit": 4}], ids=str)
def test_scaling_is_fitted_on_the_training_split_alone(source, scale, settings):
    train, test = numbered(8), numbered(8)
    outlying = train.copy()
    kept = len(source(Raw(Examples(train), Examples(test)), **settings).train.values)
    outlying[kept:] = 1e6  # nothing where all are kept
    expected = source(Raw(Examples(train), Examples(test)), scale=scale, **settings).scaling
    found = source(Raw(Examples(outlying), Examples(test + 1e6)), scale=scale, **settings).scaling
    np.testing.assert_array_equal(found.shift, expected.shift)
    np.testing.assert_array_equal(found.divisor, expected.divisor)
    reference = numbered(kept)
    np.testing.assert_allclose(found.shift, 0 if scale == "unit" else reference.mean(axis=0))
    np.testing.assert_allclose(found.divisor, kept - 1 if scale == "unit" else reference.std(axis=0), rtol=1e-6)


# --- range ---


@pytest.mark.parametrize("array", [numbered(10), numbered(10) / 9 - 0.01, -numbered(10) / 9], ids=["9", "-.01", "-1"])
def test_data_outside_the_unit_range_are_told(array):
    found = of(array)
    assert not found.unit_range
    low, high = found.span
    assert low < 0 or high > 1


@pytest.mark.parametrize(
    ("array", "scale"),
    [
        (np.arange(250, dtype=np.uint8).reshape(25, 10), "none"),
        (numbered(10) / 9, "none"),
        (numbered(10) - 4, "unit"),
        (np.random.default_rng(0).normal(0.1, 3.0, (100, 7)), "unit"),
    ],
    ids=["bytes", "unit floats", "unit scaling", "rounding"],
)
def test_data_in_the_unit_range_is_accepted(array, scale):
    found = of(array, scale=scale)
    assert found.unit_range


@pytest.mark.parametrize("settings", [{}, {"validation": 2}], ids=str)
def test_a_value_beyond_the_unit_range_in_any_split_is_told(source, settings):
    inside, beyond = numbered(10) / 9, numbered(10) / 9
    beyond[-1] = 1.5  # of the test split, or of the last training examples, which are the validation split
    split = {"train": inside, "test": inside} | {"train" if settings else "test": beyond}
    found = source(Raw(*(Examples(split[name]) for name in ("train", "test"))), **settings)
    assert found.span == (0.0, 1.5)
    assert not found.unit_range


def test_the_span_of_a_fitted_scaling_is_that_of_the_data_that_it_was_fitted_on(source):
    """A held-out value beyond it is nothing that the user could mend."""
    found = source(Raw(Examples(numbered(10)), Examples(numbered(20))), scale="unit")
    assert found.unit_range


def test_the_span_is_that_of_the_scaled_training_data():
    found = of(numbered(10) - 3, scale="standard")
    rows = scaled(found)
    assert found.span == (float(rows.min()), float(rows.max()))


# --- fingerprint ---


def test_a_fingerprint_names_shape_and_type_of_each_split(source):
    plain = source(Raw(labelled(0, 10), labelled(10, 14))).fingerprint()
    assert set(plain) == {"train", "test"}
    assert plain["train"]["shape"] == [10, 3]
    digests = {"sha256": "", "sample_sha256": ""}
    assert plain["test"] | digests == {"shape": [4, 3], "dtype": "float32"} | digests
    assert set(source(Raw(labelled(0, 10)), validation=1).fingerprint()) == {"train", "validation", "test"}


def test_a_fingerprint_is_the_digest_of_the_stored_values():
    found = of(np.zeros((5, 1), np.uint8))
    # printf '\0' | sha256sum, and four of them
    assert found.fingerprint()["test"]["sha256"].startswith("6e340b9cffb37a98")
    assert found.fingerprint()["train"]["sha256"].startswith("df3f619804a92fdb")


def test_a_fingerprint_changes_with_one_value_of_any_split():
    array = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    expected = of(array, validation=2).fingerprint()
    assert of(array.copy(), validation=2).fingerprint() == expected
    for row, part in ((0, "train"), (18, "validation"), (19, "test")):
        changed = array.copy()
        changed[row, 1] = np.nextafter(changed[row, 1], 10)
        found = of(changed, validation=2).fingerprint()
        assert {name for name in expected if found[name] != expected[name]} == {part}


def test_a_fingerprint_does_not_depend_on_how_the_array_lies_in_memory(tmp_path):
    array = np.arange(40, dtype=np.uint8).reshape(10, 4)
    np.save(tmp_path / "a.npy", np.asfortranarray(array))
    expected = of(array).fingerprint()
    assert of(np.asfortranarray(array)).fingerprint() == expected
    assert load(config.Data(source=f"npy:{tmp_path / 'a.npy'}")).fingerprint() == expected


def test_a_fingerprint_depends_on_the_order_of_the_examples():
    array = numbered(10)
    assert of(array).fingerprint() != of(array[::-1]).fingerprint()


def test_the_callers_array_is_left_as_it_was():
    array = numbered(10)
    found = of(array, scale="standard", validation=2)
    scaled(found)
    np.testing.assert_array_equal(array, numbered(10))


def test_a_data_set_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        of(numbered(10)).source = "other"
