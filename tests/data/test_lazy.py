"""Data that are not in memory give what the same data in memory give, for every way to split and scale them."""

import dataclasses
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aeflax import config
from aeflax.data import dataset, rows, survey
from aeflax.data.dataset import load
from aeflax.data.fingerprint import agree, fingerprint
from aeflax.data.kept import Kept
from aeflax.data.rows import Lazy
from aeflax.data.sources import Examples, Raw
from aeflax.errors import DataError


def lazily(values):
    """The same values, read when they are asked for."""
    shape = (*values.shape, 1) if values.ndim == 3 else values.shape
    return Lazy(shape, values.dtype, lambda index: values[index].reshape(-1, *shape[1:]))


@pytest.fixture
def of(monkeypatch):
    """Loads a Raw, in memory or lazily."""

    def deliver(raw, **how):
        monkeypatch.setattr(dataset, "read", lambda *_, **__: raw)
        return load(config.Data(source="npy:given", **how))

    return deliver


def both(values, labels, test):
    raws = []
    for form in (np.asarray, lazily):
        splits = [Examples(form(part), kinds) for part, kinds in ((values, labels), test) if part is not None]
        raws.append(Raw(*splits))
    return raws


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_lazy_data_are_those_in_memory_for_every_combination(of, monkeypatch, data):
    monkeypatch.setattr(rows, "BLOCK_VALUES", data.draw(st.sampled_from([7, 50, 10**6])))
    shape = data.draw(st.sampled_from([(41, 3), (41, 3, 2), (41, 2, 2, 3)]))
    dtype = data.draw(st.sampled_from([np.uint8, np.float32]))
    random = np.random.default_rng(data.draw(st.integers(0, 9)))
    values, labels = random.integers(0, 256, shape).astype(dtype), random.integers(0, 3, 41)
    test = (values[:13] // 2, labels[:13]) if data.draw(st.booleans()) else (None, None)
    how = {
        "holdout": data.draw(st.sampled_from([0.5, 0.2, 0.34])),
        "limit": data.draw(st.sampled_from([None, 5, 100])),
        "validation": data.draw(st.integers(0, 2)),
        "classes": data.draw(st.sampled_from([(), (0, 1), (0, 1, 2)])),
        "scale": data.draw(st.sampled_from(["none", "unit", "standard"])),
    }
    memory, lazy = both(values, labels, test)
    expected, found = of(memory, **how), of(lazy, resident=False, **how)
    assert list(found.splits) == list(expected.splits)
    for name, split in found.splits.items():
        assert split.lazy
        assert (split.values.shape, split.values.dtype) == (
            expected.split(name).values.shape,
            expected.split(name).values.dtype,
        )
        np.testing.assert_array_equal(split.values[:], expected.split(name).values)
        np.testing.assert_array_equal(split.labels[:], expected.split(name).labels)
    assert found.shape == expected.shape
    # To the bit: whether data are in memory changes nothing of a run.
    np.testing.assert_array_equal(found.scaling.shift, expected.scaling.shift)
    np.testing.assert_array_equal(found.scaling.divisor, expected.scaling.divisor)
    assert found.unit_range == expected.unit_range
    if dtype == np.float32 or how["scale"] != "none":
        assert found.span == expected.span
    for name, part in found.fingerprint().items():
        assert "sha256" not in part
        assert agree(part, expected.fingerprint()[name])
    np.testing.assert_array_equal(Kept.of(found).values, Kept.of(expected).values)


def test_bytes_that_are_not_in_memory_are_not_gone_over(of):
    def refuse(index):
        raise AssertionError("was read")

    unread = Lazy((100, 3), np.dtype(np.uint8), refuse)
    found = of(Raw(Examples(unread)), resident=False, validation=5, limit=50)
    assert found.span == (0.0, 1.0)
    assert found.unit_range


@pytest.mark.parametrize("scale", ["none", "unit", "standard"])
def test_floats_are_gone_over_once_a_split(of, monkeypatch, scale):
    monkeypatch.setattr(rows, "BLOCK_VALUES", 12)
    values, read = np.random.default_rng(0).random((50, 3), np.float32), []
    counted = Lazy(values.shape, values.dtype, lambda index: read.extend(index.tolist()) or values[index])
    found = of(Raw(Examples(counted)), resident=False, scale=scale, validation=5)
    assert found.span
    assert found.unit_range == (scale != "standard")
    assert sorted(read) == list(range(50))


@pytest.mark.parametrize(("row", "split", "index"), [(0, "train", 0), (38, "validation", 1), (44, "test", 8)])
def test_a_value_that_is_not_finite_is_found_when_lazy_data_are_loaded(of, monkeypatch, row, split, index):
    monkeypatch.setattr(rows, "BLOCK_VALUES", 3)
    values = np.zeros((50, 3), np.float32)
    values[row, 1] = np.nan
    message = rf"npy:given \({split}\) \(examples {index} to {index}\) holds 1 value .* first at index \[{index}, 1\]"
    with pytest.raises(DataError, match=message):
        of(Raw(Examples(lazily(values))), resident=False, validation=10)


def test_data_come_into_memory_where_they_take_under_a_quarter_of_it(of, monkeypatch):
    values = np.arange(100, dtype=np.uint8).reshape(25, 4)
    raw = Raw(Examples(lazily(values), lazily(values)), Examples(lazily(values[:5])))  # 120 bytes

    def sysconf(name, *, memory):
        return {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": memory}[name]

    for memory, kind in ((484, np.ndarray), (480, Lazy)):
        monkeypatch.setattr(os, "sysconf", lambda name, memory=memory: sysconf(name, memory=memory))
        for resident in (None, True, False):
            found = of(raw, resident=resident)
            assert {type(split.values) for split in found.splits.values()} == {Lazy if resident is False else kind}
            assert type(found.train.labels) is type(found.train.values)


def test_what_is_no_data_is_refused_unread(of):
    text = Lazy((9, 2), np.dtype(object), lambda index: 1 / 0)
    with pytest.raises(DataError, match="holds values of type object, not numbers"):
        of(Raw(Examples(text)), resident=False)


# --- passes over all examples ---


@pytest.mark.parametrize("shape", [(1000, 3), (200, 4, 2, 3)], ids=str)
def test_moments_are_those_of_the_whole_however_it_is_cut(monkeypatch, shape):
    values = (np.random.default_rng(0).normal(size=shape) + 1000).astype(np.float32)
    axes = tuple(range(len(shape) - 1))
    for size in (3, 100, 10**6):
        monkeypatch.setattr(rows, "BLOCK_VALUES", size)
        found = survey.survey(values, "x", moments=True)
        wide = values.astype(np.float64)
        # Sums of a thousand float64 values near 1000: 1e-13 of them.
        np.testing.assert_allclose(found.mean, wide.mean(axis=axes), rtol=1e-12)
        np.testing.assert_allclose(found.deviation, wide.std(axis=axes), rtol=1e-9)
        flat = values.reshape(len(values), -1)
        np.testing.assert_array_equal([found.low, found.high], [flat.min(axis=0), flat.max(axis=0)])


# --- fingerprints ---


def test_a_sampled_digest_is_of_evenly_spaced_examples(monkeypatch):
    monkeypatch.setattr("aeflax.data.fingerprint.SAMPLE", 5)
    values = np.arange(2400, dtype=np.uint8).reshape(100, 24)
    expected = fingerprint(lazily(values))
    for row in range(100):
        changed = values.copy()
        changed[row, 0] ^= 1
        assert (fingerprint(lazily(changed)) != expected) == (row in (0, 24, 49, 74, 99))


def test_the_first_and_last_example_are_sampled_of_data_of_any_size():
    asked = []
    whole = Lazy((10**9, 10**6), np.dtype(np.uint8), lambda index: asked.extend(index) or np.zeros((len(index), 1)))
    fingerprint(whole)
    assert (asked[0], asked[-1], len(asked)) == (0, 10**9 - 1, 67)  # 64 MiB of them


def test_fingerprints_agree_as_far_as_both_tell():
    values = np.arange(200, dtype=np.uint8).reshape(50, 4)
    exact, sampled = fingerprint(values), fingerprint(lazily(values))
    assert agree(exact, sampled)
    assert agree(sampled, exact)
    assert not agree(exact, fingerprint(values[::-1]))
    assert not agree(sampled, fingerprint(values[:40]))
    assert not agree(exact, None)
    assert not agree(None, exact)
    older = {name: value for name, value in exact.items() if name != "sample_sha256"}  # of an earlier version
    assert agree(older, exact)
    assert not agree(older, fingerprint(values + 1))


def test_examples_are_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Examples(np.zeros((2, 2))).values = None
