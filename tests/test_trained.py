"""What a run makes of records that another hand wrote."""

import math
import types

from aeflax.report.sound import numbers as _numbers
from aeflax.report.sound import sound as _sound
from aeflax.trained import Run


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


def test_of_a_summary_a_report_takes_what_is_of_the_kind_that_training_writes():
    sound = {
        "status": "done",
        "step": 3,
        "seconds": 1.5,
        "test": {"mse": 0.5},
        "state_sha256": "a",
        "best": {"step": 2, "monitor": "mse", "value": 0.1},
        "pca": {"dim": 2, "compresses": True, "test": {"mse": 1.0}},
    }
    assert _sound(sound) == sound
    assert list(_sound(sound)) == list(sound)
    for odd in ("text", None, [1], {"a": {}}, 10**400, True):
        made_up = sound | {"seconds": odd, "best": odd, "pca": odd, "test": {"mse": odd, "bce": 0.5}}
        found = _sound(made_up)
        assert "seconds" not in found
        assert "best" not in found
        assert found["test"] == {"bce": 0.5}
