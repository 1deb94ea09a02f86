"""Properties of the compiled loop that hold for every variant."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import BATCH, BY_VARIANT, EXAMPLES, PRESETS, Harness, experiment, images, table

from aeflax.config import Optimizer
from aeflax.data.order import permutation
from aeflax.engine.placement import Placement, choose
from aeflax.engine.state import Batch, Source, create, init_state
from aeflax.engine.step import make_step, zero_sums

SGD = Optimizer(name="sgd", learning_rate=1e-4, b1=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("variant", BY_VARIANT)
def test_compiled_loop_equals_a_python_loop_over_numpy_batches(variant):
    harness = Harness(experiment(variant))
    looped, sums = harness.run(harness.initial(), 7)

    step = jax.jit(make_step(harness.built.parts))
    rows = harness.dataset.train.values.reshape(EXAMPLES, -1)
    scaling = harness.dataset.scaling
    state, total = harness.initial(), zero_sums(harness.built.parts)
    batches = np.concatenate([table(permutation(3, epoch, EXAMPLES), BATCH) for epoch in range(3)])[:7]
    for example in batches:
        batch = Batch(
            Source(rows[np.maximum(example, 0)], scaling.shift, scaling.divisor),
            example,
            np.float32((example >= 0).sum()),
        )
        state, new = step(state, batch, harness.key, harness.hyper)
        total = jax.tree.map(jnp.add, total, new)
    # Two compilations of one step round differently; 7 steps of Adam at 3e-3 amplify that to a few 1e-6.
    chex.assert_trees_all_close(looped, state, atol=2e-5, rtol=1e-4)
    chex.assert_trees_all_close(sums, jax.device_get(total), rtol=1e-4)


@pytest.mark.parametrize("variant", BY_VARIANT)
def test_chunk_length_does_not_change_a_bit(variant):
    harness = Harness(experiment(variant))
    whole, whole_sums = harness.run(harness.initial(), 7)
    single, single_sums = harness.run(harness.initial(), 7, chunk=1)
    chex.assert_trees_all_equal(whole, single)
    chex.assert_trees_all_equal(whole_sums, single_sums)


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["jit", "pmap"])
def test_streamed_and_resident_data_give_the_same_bits(placement, monkeypatch):
    monkeypatch.setattr("aeflax.engine.feed.CHUNK_BYTES", 2 * BATCH * 63)  # two of an epoch's three steps
    states = []
    for resident in (True, False):
        harness = Harness(experiment("denoising-conv-vae"), choose(placement), resident=resident)
        states.append(harness.run(harness.initial(), 7))
    chex.assert_trees_all_equal(*states)


def optimized():
    """Every variant by SGD; the presets by Adam, too."""
    for case in BY_VARIANT:
        (name,) = case.values
        yield pytest.param(name, SGD, marks=case.marks, id=f"{name}-sgd")
        if name in PRESETS:
            yield pytest.param(name, Optimizer(learning_rate=3e-3), marks=case.marks, id=f"{name}-adam")


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "optimizer"), list(optimized()))
def test_pmap_on_four_devices_equals_jit_on_one(variant, optimizer):
    """Three batches an epoch, the last one masked and empty on the fourth device.

    SGD shows wrong factors that Adam would hide. Four devices sum in another order: float32 rounding, which
    Adam's division amplifies where a gradient is nearly zero.
    """
    results = []
    for placement in (choose("jit"), choose("pmap")):
        harness = Harness(experiment(variant, optimizer=optimizer), placement)
        initial = harness.initial()
        results.append((jax.device_get(initial), *jax.device_get(harness.run(initial, 7))))
    (start, one, one_sums), (_, four, four_sums) = results
    chex.assert_trees_all_close(one_sums, four_sums, rtol=2e-5)
    moved = jax.tree.map(np.subtract, one.params, start.params)
    moved_four = jax.tree.map(np.subtract, four.params, start.params)
    scale = max(float(np.max(np.abs(leaf))) for leaf in jax.tree.leaves(moved))
    assert scale > 0
    chex.assert_trees_all_close(moved, moved_four, atol=(1e-4 if optimizer is SGD else 1e-2) * scale)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
def test_noise_does_not_depend_on_the_number_of_devices(devices):
    """The inputs that the encoder sees are equal to the bit, whatever device holds the example."""
    settings = experiment("denoising-conv-vae")
    seen = []
    for placement in (choose("jit"), Placement("pmap", tuple(jax.devices()[:devices]))):
        harness = Harness(settings, placement)
        recorded = []
        parts = harness.built.parts

        def corrupt(keys, targets, hyper, parts=parts, recorded=recorded):
            inputs = parts.corrupt(keys, targets, hyper)
            jax.debug.callback(
                lambda k, x: recorded.append((np.array(k), np.array(x))), jax.random.key_data(keys), inputs
            )
            return inputs

        harness.compile(corrupt=corrupt)
        harness.run(harness.initial(), 2)
        jax.effects_barrier()
        flat = [(key.tobytes(), image) for keys, block in recorded for key, image in zip(keys, block, strict=True)]
        seen.append(dict(flat))
    assert len(seen[0]) == 2 * BATCH
    assert seen[0].keys() == seen[1].keys()
    for key, image in seen[0].items():
        np.testing.assert_array_equal(image, seen[1][key])


@pytest.mark.slow
@pytest.mark.parametrize("variant", BY_VARIANT)
def test_padding_changes_nothing(variant):
    """One example, padded to a batch of 16 with whatever rows, trains as it does in a batch of one."""
    array = images(2)  # one training example, one held out
    results = []
    for batch_size in (1, 16):
        settings = experiment(variant, optimizer=SGD)
        data = settings.data.__class__(batch_size=batch_size, holdout=0.5)
        harness = Harness(
            settings.__class__(data=data, model=settings.model, optimizer=SGD, train=settings.train), array=array
        )
        results.append(harness.run(harness.initial(), 3))
    (one, one_sums), (padded, padded_sums) = results
    assert one_sums["weight"] == padded_sums["weight"] == 3
    chex.assert_trees_all_close(one.params, padded.params, atol=1e-6)
    chex.assert_trees_all_close(one_sums, padded_sums, rtol=1e-5)


def test_an_epoch_sees_every_example_once():
    order = np.concatenate([row[row >= 0] for row in table(permutation(0, 5, EXAMPLES), BATCH)])
    assert sorted(order) == list(range(EXAMPLES))


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["jit", "pmap"])
def test_a_non_finite_update_is_skipped_counted_and_leaves_no_trace(placement):
    harness = Harness(experiment("vanilla"), choose(placement))
    state, _ = harness.run(harness.initial(), 2)
    before = jax.device_get(state)
    bad = jax.tree.map(jnp.copy, harness.hyper)
    poisoned = harness.placement.replicate(
        before.replace(params=jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), before.params))
    )
    after, sums = harness.run(poisoned, 2, hyper=bad)
    assert int(after.step) == 4
    assert int(after.skipped) == int(after.skipped_in_row) == 2
    assert all(value == 0 for value in sums.values())
    chex.assert_trees_all_equal(jax.device_get(after.opt_state), before.opt_state)
    recovered, sums = harness.run(harness.placement.replicate(jax.device_get(after).replace(params=before.params)), 1)
    assert int(recovered.skipped) == 2
    assert int(recovered.skipped_in_row) == 0
    assert np.isfinite(sums["loss"])


def test_one_bad_example_is_skipped_with_its_batch_alone():
    array = images(EXAMPLES * 5 // 4).astype(np.float32) / 255
    harness = Harness(experiment("vanilla"), array=array)
    rows = np.asarray(harness.feed._source.rows).copy()
    rows[permutation(3, 0, EXAMPLES)[0]] = np.inf  # in the first batch
    harness.feed._source = harness.feed._source.replace(rows=jnp.asarray(rows))
    state, sums = harness.run(harness.initial(), 3)
    assert int(state.skipped) == 1
    assert int(state.skipped_in_row) == 0
    assert sums["weight"] == EXAMPLES - BATCH
    chex.assert_tree_all_finite(state.params)


@pytest.mark.parametrize("variant", BY_VARIANT)
def test_changing_a_number_never_recompiles(variant):
    harness = Harness(experiment(variant))
    state, _ = harness.run(harness.initial(), 2)
    compiled = harness.epoch._cache_size()  # programs are shared between tests of one structure
    for factor in (0.5, 2.0):
        hyper = jax.tree.map(lambda leaf, factor=factor: leaf * jnp.float32(factor), harness.hyper)
        state, _ = harness.run(state, 2, hyper=hyper)
    assert harness.epoch._cache_size() == compiled


@pytest.mark.slow
def test_every_number_reaches_the_step():
    """Each traced number, changed alone, changes the training of a model that uses it."""
    settings = {
        "free-bits": Optimizer(schedule="exponential", warmup_steps=2, weight_decay=0.1, clip_norm=5.0, ema=0.5),
        "denoising-conv-vae": Optimizer(),
        "rate": Optimizer(schedule="piecewise", boundaries=(2,)),
        "sparse": Optimizer(),
        "denoising": Optimizer(),
    }
    for variant, optimizer in settings.items():
        harness = Harness(experiment(variant, optimizer=optimizer))
        base, _ = harness.run(harness.initial(), 5)
        leaves, structure = jax.tree_util.tree_flatten_with_path(harness.hyper)
        for index, (path, leaf) in enumerate(leaves):
            name = jax.tree_util.keystr(path)
            unused = {"factor": "piecewise", "final": "exponential"}
            if any(key in name and optimizer.schedule != schedule for key, schedule in unused.items()):
                continue
            changed = [other for _, other in leaves]
            if "'eps'" in name:
                changed[index] = jnp.float32(1e-3)
            else:
                changed[index] = leaf + 3.0 if leaf == 0 else leaf * (3.0 if leaf < 0.3 else 0.5)
            state, _ = harness.run(harness.initial(), 5, hyper=jax.tree_util.tree_unflatten(structure, changed))
            same = all(
                np.array_equal(a, b)
                for a, b in zip(
                    jax.tree.leaves((base.params, base.ema)), jax.tree.leaves((state.params, state.ema)), strict=True
                )
            )
            assert not same, f"{variant}: {name} has no effect"


def test_a_batch_that_does_not_divide_names_the_nearest_that_does():
    with pytest.raises(ValueError, match=r"data.batch_size=18 does not divide over 4 devices; try 16"):
        choose("pmap").require_shares(18)
    with pytest.raises(ValueError, match="try 4"):
        choose("pmap").require_shares(3)


def test_auto_is_jit_on_cpu():
    assert choose("auto").name == "jit"


def test_average_follows_the_parameters():
    harness = Harness(experiment("vanilla", optimizer=Optimizer(ema=0.75)))
    first = harness.initial()
    start = jax.device_get(first.params)
    state, _ = harness.run(first, 1)
    # The first decay is 1/10, not .75: min(ema, (1 + step) / (10 + step)).
    expected = jax.tree.map(lambda old, new: 0.1 * old + 0.9 * new, start, jax.device_get(state.params))
    chex.assert_trees_all_close(jax.device_get(state.ema), expected, atol=1e-6)
    assert state.inference_params is state.ema


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 10**6])
def test_the_longest_run_of_skipped_updates_is_remembered_whatever_came_after(chunk):
    """Steps 2, 3 and 6 are skipped: the longest run of them is two, also when the last one is one."""
    harness = Harness(experiment("vanilla"))
    parts = harness.built.parts

    def objective(outputs, targets, batch_mean, hyper, step):
        loss, terms = parts.objective(outputs, targets, batch_mean, hyper, step)
        return jnp.where((step == 2) | (step == 3) | (step == 6), jnp.nan, loss), terms

    harness.compile(objective=objective)
    state, _ = harness.run(harness.initial(), 7, chunk=chunk)
    assert (int(state.skipped), int(state.skipped_in_row), int(state.most_skipped_in_row)) == (3, 1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["jit", "pmap"])
def test_a_model_state_is_updated_with_the_mean_over_the_whole_masked_batch(placement):
    """The last batch has 12 examples; four devices get 4, 4, 4 and none."""
    harness = Harness(experiment("vanilla", optimizer=SGD), choose(placement))

    def observe(outputs):
        return {"mean": outputs.latent.code, "ones": jnp.ones(len(outputs.logits))}

    def update(params, model, means, examples):
        return params, means | {"examples": examples}

    initial = harness.initial()
    code = harness.settings.model.latent_dim
    initial = initial.replace(
        model=harness.placement.replicate(
            {"mean": np.zeros(code, np.float32), "ones": np.float32(0), "examples": np.float32(0)}
        )
    )
    harness.compile(observe=observe, update=update)
    state, _ = harness.run(initial, 2)
    before = jax.device_get(state.params)
    state, _ = harness.run(state, 1)
    rows = table(permutation(3, 0, EXAMPLES), BATCH)[2]
    targets = harness.dataset.train.values[rows[rows >= 0]].astype(np.float32) / 255
    codes = harness.built.module.apply({"params": before}, targets).latent.code
    np.testing.assert_allclose(state.model["mean"], np.mean(codes, axis=0), rtol=1e-5)
    assert float(state.model["ones"]) == 1.0
    assert float(state.model["examples"]) == 12.0


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["vae", "conv"])
def test_a_state_that_is_compiled_quickly_is_drawn_with_the_same_bits(variant):
    harness = Harness(experiment(variant))
    given = harness.built.parts, harness.key, harness.hyper
    well = jax.jit(init_state, static_argnums=0, compiler_options={"xla_backend_optimization_level": 3})
    chex.assert_trees_all_equal(create(*given, where=None), well(*given))
