"""How a dictionary that was found is held against the true one."""

from dataclasses import replace

import numpy as np
import pytest

from aeflax.config import Train
from experiments import dictionary_recovery
from experiments.dictionary_recovery import drawn, recovery

EXAMPLES, KNOWN = drawn(0)


def test_a_dictionary_is_found_in_any_order_and_at_any_length():
    random = np.random.default_rng(0)
    other = random.uniform(0.1, 9, (64, 1)) * KNOWN[random.permutation(64)]
    assert recovery(other, KNOWN) == {"cosine": pytest.approx(1.0), "recovered": 1.0}
    assert recovery(-other, KNOWN)["recovered"] == 0  # activations are not negative: a reversed direction is another


def test_one_direction_stands_for_one_alone():
    """64 copies of a direction recover it once; what is left over counts as 0."""
    copies = np.repeat(KNOWN[:1], 64, axis=0)
    assert recovery(copies, KNOWN)["recovered"] == 1 / 64
    half = recovery(KNOWN[:32], KNOWN)
    assert half == {"cosine": pytest.approx(0.5), "recovered": 0.5}
    assert recovery(np.zeros_like(KNOWN), KNOWN) == {"cosine": 0.0, "recovered": 0.0}


def test_examples_are_sparse_sums_of_the_directions():
    """Three of 64 at a time: E|x|² = 64 · 3/64 · (1 + 1/12) + 32 · 1e-4, within 2 % for 20,000 examples."""
    assert np.mean(np.sum(EXAMPLES.astype(np.float64) ** 2, axis=1)) == pytest.approx(3 * 13 / 12, rel=0.02)
    again, _ = drawn(0)
    np.testing.assert_array_equal(again, EXAMPLES)


@pytest.mark.slow
def test_top_k_finds_most_of_the_dictionary_and_chance_none(tmp_path, monkeypatch):
    shorter = replace(dictionary_recovery.CONFIG, train=Train(steps=3000))
    monkeypatch.setattr(dictionary_recovery, "CONFIG", shorter)
    top_k = {"top-k": dictionary_recovery.KINDS["top-k"]}
    chance, found = dictionary_recovery.measure(tmp_path, top_k, range(1))
    assert chance["recovered"]["mean"] == 0
    assert found["recovered"]["mean"] > 0.8
    assert found["l0"] == pytest.approx(3, abs=0.2)
