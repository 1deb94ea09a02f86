"""JSON files that are replaced whole and know what was written."""

import contextlib
import json
import os

import pytest

from aeflax.errors import ConfigError
from aeflax.storage.document import DIGEST, read_json, write_json


def test_a_written_file_is_whole_and_leaves_no_temporary_one(tmp_path):
    path = tmp_path / "x.json"
    for content in ({"a": [1, 2.5, None]}, {"b": "é"}):
        write_json(path, content)
        assert read_json(path) == content
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_failed_write_keeps_the_old_content_and_leaves_no_temporary_file(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_json(path, {"old": 1})

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"new": 2})
    assert read_json(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["x.json"]


def test_every_flipped_bit_is_found_or_changes_nothing(tmp_path):
    path = tmp_path / "x.json"
    content = {"seed": 1, "scale": [0.25, 3.5], "name": "a"}
    write_json(path, content)
    written = path.read_bytes()
    for bit in range(8 * len(written)):
        changed = bytearray(written)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with contextlib.suppress(ConfigError):
            # Read at all, the flip was in white space, or in the digest's own name, which is then one more key.
            found = read_json(path)
            assert {key: found[key] for key in content} == content


def test_a_file_that_another_hand_changed_is_refused(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"seed": 1})
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"seed": 2}))
    with pytest.raises(ConfigError, match=r"x\.json is not what was written to it \(its sha256 differs\)"):
        read_json(path)
    path.write_text(json.dumps({"seed": 2}))  # without a digest nothing is claimed
    assert read_json(path) == {"seed": 2}
    assert DIGEST in told
