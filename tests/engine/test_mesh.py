"""The mesh placement: a state spread over devices trains as one that is not."""

from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import BY_VARIANT, PRESETS, Harness, experiment

from aeflax.config import Dense, Optimizer
from aeflax.engine import placement as placements
from aeflax.engine.placement import Placement, choose
from aeflax.engine.sharding import Override, override, partition, travels

SGD = Optimizer(name="sgd", learning_rate=1e-4, b1=0.0)


@pytest.fixture
def _everything_is_large(monkeypatch):
    """Spreads whatever divides, however small."""
    monkeypatch.setattr("aeflax.engine.sharding.REPLICATED_BELOW", 1)
    placements._compile.cache_clear()
    yield
    placements._compile.cache_clear()


def spreads():
    """Every variant over four devices; the presets over two and one, too."""
    for case in BY_VARIANT:
        (name,) = case.values
        yield from (pytest.param(name, fsdp, marks=case.marks) for fsdp in ((4, 2, 1) if name in PRESETS else (4,)))


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "fsdp"), list(spreads()))
@pytest.mark.usefixtures("_everything_is_large")
def test_a_spread_state_trains_as_a_whole_one(variant, fsdp):
    """SGD, three batches an epoch, the last one masked; the sums run in another order: float32 rounding."""
    results = []
    for placement in (choose("jit"), choose("mesh", fsdp=fsdp)):
        harness = Harness(experiment(variant, optimizer=SGD), placement)
        initial = harness.initial()
        start = jax.device_get(initial.params)
        state, sums = harness.run(initial, 7)
        results.append((start, state, sums))
    (start, one, one_sums), (_, spread, spread_sums) = results
    chex.assert_trees_all_close(spread_sums, one_sums, rtol=2e-5)
    moved, other = (jax.tree.map(np.subtract, jax.device_get(state.params), start) for state in (one, spread))
    scale = max(float(np.max(np.abs(leaf))) for leaf in jax.tree.leaves(moved))
    assert scale > 0
    chex.assert_trees_all_close(other, moved, atol=1e-4 * scale)
    # Where the state lies does not wander while it trains, which would compile the loop again.
    for leaf, wanted in zip(*map(jax.tree.leaves, (spread, placement.shardings(spread))), strict=True):
        assert leaf.sharding.is_equivalent_to(wanted, leaf.ndim)
    assert harness.epoch._cache_size() <= 2  # programs are shared between tests of one structure
    for leaf in jax.tree.leaves(spread.params):
        divides = fsdp > 1 and any(length % fsdp == 0 for length in leaf.shape)
        assert leaf.sharding.is_fully_replicated == (not divides)


@pytest.mark.slow
@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.usefixtures("_everything_is_large")
def test_streamed_data_on_a_mesh_give_the_same_bits(resident, monkeypatch):
    monkeypatch.setattr("aeflax.engine.feed.CHUNK_BYTES", 2 * 16 * 63)  # two of an epoch's three steps
    states = []
    for kept in (True, resident):
        harness = Harness(experiment("denoising-conv-vae"), choose("mesh", fsdp=2), resident=kept)
        states.append(jax.device_get(harness.run(harness.initial(), 7)))
    chex.assert_trees_all_equal(*states)


@pytest.mark.parametrize(
    ("shape", "devices", "axis"),
    [
        ((784, 1024), 4, 1),  # the larger one
        ((1024, 784), 4, 0),
        ((1000, 1024), 16, 1),
        ((1001, 1002), 4, None),  # none divides
        ((512, 512), 4, 1),  # equal: the last
        ((255, 256), 4, None),  # 65,280 values: below the threshold
        ((256, 256), 4, 1),
        ((3, 3, 256, 512), 8, 3),
        ((), 4, None),
    ],
)
def test_the_largest_axis_that_divides_is_spread(shape, devices, axis):
    assert partition("params/encoder/kernel", shape, devices) == axis


def test_an_override_goes_by_the_path_of_a_parameter_and_of_its_moments():
    rules = (override("encoder/.*kernel=0"), override("output=none"))
    assert rules == (Override("encoder/.*kernel", 0), Override("output", None))
    for path in ("encoder/dense_0/kernel", "opt_state/0/mu/encoder/dense_0/kernel"):
        assert partition(path, (784, 1024), 4, rules) == 0
    assert partition("params/decoder/output/kernel", (1024, 784), 4, rules) is None
    assert partition("params/decoder/dense_0/kernel", (1024, 784), 4, rules) == 0
    with pytest.raises(ValueError, match=r"train.sharding: encoder/.\*kernel=0 does not divide .* over 4 devices"):
        partition("params/encoder/dense_0/kernel", (785, 1024), 4, rules)


def test_what_is_smaller_travels():
    assert not travels((8192, 8192), 256)  # 67 million parameters, 2 million activations
    assert travels((1024, 1024), 8192)
    assert travels((3, 3, 512, 512), 8)  # a kernel meets maps
    assert travels((512,), 1)


@pytest.mark.slow
def test_memory_falls_with_the_devices():
    """A model of wide layers: what a device holds of its state, and what a step takes beside it, fall as 1/N."""
    sizes = {}
    for fsdp in (1, 4):
        settings = experiment("vanilla")
        model = replace(settings.model, backbone=Dense(widths=(1024, 1024)))
        harness = Harness(replace(settings, model=model), choose("mesh", fsdp=fsdp))
        state, chunk = harness.initial(), harness.feed.chunk(0, 1)
        sums = harness.placement.replicate(
            {name: np.float32(0) for name in ("weight", "loss", "gradient_norm", *harness.built.parts.terms)}
        )
        key, hyper = harness.key, harness.hyper
        compiled = harness.epoch.lower(state, sums, chunk.source, chunk.order, 0, 1, key, hyper).compile()
        device = jax.devices()[0]
        held = sum(
            shard.data.nbytes
            for leaf in jax.tree.leaves(state)
            for shard in leaf.addressable_shards
            if shard.device == device
        )
        analysis = compiled.memory_analysis()
        sizes[fsdp] = np.array([held, analysis.argument_size_in_bytes, analysis.temp_size_in_bytes])
    assert (sizes[4] < 0.3 * sizes[1]).all(), sizes


def test_devices_must_be_enough_for_the_spread():
    with pytest.raises(ValueError, match=r"train.fsdp=3 does not divide the number of devices, 4; choose a divisor"):
        choose("mesh", fsdp=3)
    assert choose("mesh").fsdp == 4
    assert choose("mesh", fsdp=2).mesh.shape == {"data": 2, "fsdp": 2}


class _Accelerator:
    """As much of a device as `choose` looks at."""

    platform, process_index = "gpu", 0

    def __init__(self, index):
        self.id = index

    def memory_stats(self):
        return {"bytes_limit": 1000 << 20}


@pytest.mark.parametrize(("devices", "state", "name"), [(1, 10**6, "jit"), (4, 500, "pmap"), (4, 501, "mesh")])
def test_auto_takes_a_mesh_where_the_state_would_not_fit(monkeypatch, devices, state, name):
    found = [_Accelerator(i) for i in range(devices)]
    monkeypatch.setattr(jax, "devices", lambda: found)
    monkeypatch.setattr(jax, "local_devices", lambda: found)
    chosen = choose("auto", state_bytes=lambda: state << 20)
    assert (chosen.name, chosen.fsdp) == (name, devices if name == "mesh" else 1)
    assert choose("auto", state_bytes=lambda: state << 20, exact=True).name != "mesh"


def test_a_state_moves_between_placements():
    state = Harness(experiment("vae")).initial()
    for placement in (choose("pmap"), choose("mesh"), Placement("jit", tuple(jax.devices()[:1]))):
        moved = jax.device_put(state, placement.shardings(state))
        chex.assert_trees_all_equal(jax.device_get(moved), jax.device_get(state))
        assert jnp.all(moved.step == 0)
