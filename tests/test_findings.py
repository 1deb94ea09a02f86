"""What applications found is kept, checked by `verify`, and missed aloud where it is damaged."""

import numpy as np
import pytest
from variants import experiment, images

import aeflax
from aeflax.applications.findings import Findings, keep, load
from aeflax.errors import AeflaxWarning

FOUND = Findings("ab" * 32, {"value": 3}, {"codes": np.arange(2000.0)})


@pytest.fixture
def place(tmp_path):
    aeflax.train(experiment("vanilla"), images(), run_dir=tmp_path / "run", report=False)
    keep(tmp_path / "run", "codes", FOUND)
    return tmp_path / "run"


@pytest.mark.slow
def test_sound_findings_are_read_and_verified(place):
    (found,) = load(place, FOUND.state_sha256).values()
    np.testing.assert_array_equal(found.arrays["codes"], FOUND.arrays["codes"])
    assert aeflax.verify(place).files["applications/codes.json"] == []
    assert aeflax.verify(place).sound


@pytest.mark.slow
@pytest.mark.parametrize("name", ["codes.json", "codes.npz"])
def test_a_changed_byte_is_told(place, name):
    path = place / "applications" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    assert not aeflax.verify(place).sound
    (fault,) = aeflax.verify(place).files["applications/codes.json"]
    assert name in fault
    with pytest.warns(AeflaxWarning, match="the report leaves codes out: .*codes"):
        assert load(place, FOUND.state_sha256) == {}


def test_arrays_that_are_gone_are_told(place):
    (place / "applications" / "codes.npz").unlink()
    assert "run the application again" in aeflax.verify(place).files["applications/codes.json"][0]
