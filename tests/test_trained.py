"""What a run makes of records that another hand wrote."""

import math
import types

from aeflax.trained import Run, _numbers


def test_of_a_metrics_log_only_the_numbers_of_a_split_are_taken():
    records = [
        {"step": 1, "split": "train", "loss": 0.5, "words": "a", "big": 10**400, "flag": True},
        {"step": 2, "split": "train", "loss": math.nan},
        {"step": 3, "loss": 0.5},
        {"step": 4, "split": ["train"], "loss": 0.5},
        {"step": 10**30, "split": "train", "loss": 0.5},
    ]
    found = _numbers(records)
    assert [record["step"] for record in found] == [1, 2]
    assert found[0] == {"step": 1, "split": "train", "loss": 0.5}
    history = Run.history.fget(types.SimpleNamespace(_records=found))
    assert {name: values.dtype.kind for name, values in history["train"].items()} == {"step": "i", "loss": "f"}
