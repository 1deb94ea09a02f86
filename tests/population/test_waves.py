"""A population larger than the memory is trained in waves, and its members are the same models."""

import jax
import numpy as np
import pytest
from variants import EXAMPLES, experiment, images

from aeflax.engine.compiling import needed_bytes
from aeflax.population import waves
from aeflax.population.grid import axes, members
from aeflax.population.group import grouped
from aeflax.population.program import compiled
from aeflax.population.sweep import sweep

DATA = images(EXAMPLES * 5 // 4)
GRID = {"train.seed": [0, 1, 2, 3, 4]}


def needed(count):
    """Of five members or, again and again, of as many as are asked for."""
    from aeflax.data.dataset import load

    settings = experiment("vanilla")
    dataset = load(settings.data, DATA)
    (group,) = grouped(members(settings, axes(GRID, settings)), dataset)
    rows = dataset.train.values.reshape(len(dataset.train), -1)
    return needed_bytes(compiled((group.programs * 2)[:count], rows, (dataset.scaling.shift, dataset.scaling.divisor)))


@pytest.mark.slow
@pytest.mark.parametrize(("fits", "sizes"), [(5, [5]), (3, [3, 2]), (2, [2, 2, 1]), (0, [1, 1, 1, 1, 1])])
def test_waves_are_as_large_as_the_memory(tmp_path, monkeypatch, fits, sizes):
    devices = jax.local_devices()[:1]  # of several, each would hold as many
    monkeypatch.setattr(jax, "local_devices", lambda *args, **names: devices)
    limit = int(needed(fits) / waves.SHARE) + 1 if fits else 1
    monkeypatch.setattr(waves, "free_bytes", lambda: limit)
    told = []
    found = sweep(experiment("vanilla"), GRID, DATA, run_dir=tmp_path / "sweep", plan=told.extend)
    assert [len(part) for part in told[0].parts()] == sizes
    assert told[0].compilations == len(set(sizes))
    assert found.groups[0]["waves"] == len(sizes)
    assert found.groups[0]["memory_bytes"] <= limit or not fits
    assert [member["status"] for member in found.members] == ["done"] * 5


@pytest.mark.slow
def test_members_do_not_depend_on_their_wave(tmp_path, monkeypatch):
    whole = sweep(experiment("vae"), GRID, DATA, run_dir=tmp_path / "whole")
    monkeypatch.setattr(waves, "free_bytes", lambda: 1)
    parts = sweep(experiment("vae"), GRID, DATA, run_dir=tmp_path / "parts")
    for index in range(5):
        pairs = zip(*(jax.tree.leaves(found.load(index).state.params) for found in (whole, parts)), strict=True)
        for a, b in pairs:  # to the bit on a processor, which trains them in turn
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_memory_grows_with_the_members():
    assert needed(4) == pytest.approx(needed(1), rel=0.01)  # one on each of four devices
    assert needed(4) < needed(8) < 3 * needed(4)


V2 = {"memory.max": "1000\n", "memory.current": "900\n", "memory.stat": "anon 400\ninactive_file 300\n"}
V1 = {
    "memory/memory.limit_in_bytes": "1000\n",
    "memory/memory.usage_in_bytes": "900\n",
    "memory/memory.stat": "inactive_file 5\ntotal_inactive_file 300\n",
}


@pytest.mark.parametrize(
    ("files", "left"),
    [(V2, 400), (V1, 400), (V2 | {"memory.max": "max\n"}, None), ({}, None), (V2 | {"memory.stat": ""}, None)],
    ids=["v2", "v1", "unlimited", "none", "silent"],
)
def test_what_a_container_leaves_counts_pages_that_it_can_take_back(files, left, tmp_path, monkeypatch):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(waves, "CGROUP", tmp_path)
    assert waves._left_in_group() == left
